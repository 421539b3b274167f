"""Tables that are read in passes, on a cluster: each worker reads the files, and the metrics stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from trainer.config.selection_metric import Metric
from trainer.config.stream import Stream
from trainer.config.variant import make_variant
from trainer.data.demo import TARGET, generate_sessions
from trainer.data.sources import load_data
from trainer.parallel.cluster.distributed_fit import DistributedFit
from trainer.parallel.cluster.remote_pool import ClusterPool
from trainer.runs.train import fit_planned
from trainer.training.fit import FitResult
from trainer.training.train_config import TrainConfig

from ..conftest import Answer
from .cluster_processes import LocalCluster, runs_of

pytestmark = pytest.mark.process

STREAMS: tuple[Stream, ...] = ("never", "always")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of four files to train on, and a file to test on; with weights, and targets of each task."""
    folder = tmp_path_factory.mktemp("tables")
    rows = generate_sessions(3000, 6)
    rng = np.random.default_rng(0)
    rows["amount"] = rng.random(len(rows)) + 0.5
    rows["label"] = np.array(["low", "mid", "high"])[rng.integers(0, 3, len(rows))]
    rows.loc[rng.random(len(rows)) < 0.05, "exit_rate"] = None
    (folder / "train").mkdir()
    for number, part in enumerate(np.array_split(np.arange(2400), 4)):
        rows.iloc[part].to_csv(folder / f"train/part-{number}.csv", index=False)
    rows.iloc[2400:].to_csv(folder / "test.csv", index=False)
    return folder / "train", folder / "test.csv"


@pytest.fixture
def tracked(cluster: LocalCluster, server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Set the server, the scheduler and the certificates for the command line; return a client of the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    return MlflowClient(server)


@pytest.mark.parametrize(
    ("options", "metric"),
    [
        ({"target": TARGET, "weight": "amount", "drop": ["label"]}, "average_precision"),
        ({"target": "label", "drop": ["amount"]}, "f1_macro"),
        ({"target": "amount"}, "rmse"),
    ],
    ids=["binary", "multiclass", "regression"],
)
def test_distributed_fit_is_the_same_in_passes(
    cluster: LocalCluster, tables: tuple[Path, Path], options: dict[str, Any], metric: Metric
) -> None:
    """Of the same parts of the rows, the workers make the same model, whether these are sent or read."""
    data, test = tables
    made: dict[Stream, FitResult] = {}
    overrides: dict[str, Any] = {"n_estimators": 30, "num_leaves": 7, "early_stopping_round": 5}
    if metric != "rmse":
        overrides["class_weight"] = "balanced"
    with closing(cluster.pool()) as pool:
        for stream in STREAMS:
            dataset = load_data(data, test=test, stream=stream, **options)
            assert (dataset.train.held, dataset.test.held) == (stream == "never", stream == "never")
            fit = DistributedFit(pool, print).fit_pipeline
            made[stream] = fit_planned(make_variant(overrides), dataset, TrainConfig(metric=metric), fit=fit)
    sent, read = made["never"], made["always"]
    assert read.loss == sent.loss
    assert (read.validation, read.test) == (sent.validation, sent.test)
    assert read.pipeline[-1].booster_.model_to_string() == sent.pipeline[-1].booster_.model_to_string()


def test_distributed_run_has_the_same_metrics(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], tables: tuple[Path, Path]
) -> None:
    """By the command, with the test file's digest, size and metrics in the run."""
    data, test = tables
    command = (
        "train",
        "--distributed",
        "--cluster",
        cluster.address,
        "--data",
        data,
        "--test",
        test,
        "--target",
        TARGET,
    )
    runs = {}
    for stream in STREAMS:
        answer = trainer(*command, "--n-estimators", "20", "--stream", stream, "--experiment", stream, "--json")
        assert answer.code == 0, answer.err
        assert ("are read in passes" in answer.err) == (stream == "always")
        (runs[stream],) = runs_of(tracked, stream)
    assert runs["always"].data.metrics == runs["never"].data.metrics
    assert runs["always"].data.params == runs["never"].data.params


def test_sweep_has_the_same_metrics_in_passes(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], tables: tuple[Path, Path]
) -> None:
    """To the bit: on the cluster in passes, as here in memory."""
    data, test = tables
    sweep = ("sweep", "--grid", "n_estimators=10,20", "--data", data, "--test", test, "--target", TARGET, "--json")
    here = trainer(*sweep, "--no-register", "--stream", "never", "--experiment", "held")
    there = trainer(
        *(*sweep, "--no-register", "--stream", "always", "--experiment", "passes"), "--cluster", cluster.address
    )
    assert (here.code, there.code) == (0, 0), there.err
    assert f"2 at a time on the cluster {cluster.address}" in there.err
    assert [one["metrics"] for one in there.json["variants"]] == [one["metrics"] for one in here.json["variants"]]


def test_test_file_that_a_worker_lacks_is_named(
    cluster: LocalCluster,
    tracked: MlflowClient,
    trainer: Callable[..., Answer],
    tables: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variants fail with its name, and no run shows as running."""
    data, test = tables
    file = Path(shutil.copy(test, tmp_path / "only-here.csv"))
    send = ClusterPool._send

    def vanish(self: ClusterPool, shared: Any) -> str:
        done = send(self, shared)
        file.unlink(missing_ok=True)
        return done

    monkeypatch.setattr(ClusterPool, "_send", vanish)
    sweep = ("sweep", "--grid", "n_estimators=10,20", "--data", data, "--test", file, "--target", TARGET)
    answer = trainer(*sweep, "--stream", "always", "--experiment", "lacking", "--cluster", cluster.address)
    assert answer.code == 1
    assert "only-here.csv: no such file" in answer.err
    assert "Traceback" not in answer.err
    assert {run.info.status for run in runs_of(tracked, "lacking")} == {"FAILED"}
