"""One model fitted over the workers of a cluster: its metrics, what each worker reads, and workers that are lost."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from trainer.config.selection_metric import Metric
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.data.sources import load_data
from trainer.parallel.cluster import distributed_fit
from trainer.parallel.cluster.credentials import ClusterError
from trainer.parallel.cluster.distributed_fit import ATTEMPTS, DistributedFit
from trainer.parallel.cluster.remote_pool import ClusterPool
from trainer.runs.train import fit_planned
from trainer.training import data_parallel_work
from trainer.training.fit import FitResult
from trainer.training.train_config import TrainConfig
from trainer.util.errors import TrainerError

from .. import programs
from ..conftest import Answer
from .cluster_processes import LocalCluster, local_cluster, runs_of, wait_until

pytestmark = pytest.mark.process

#: Of so many rows the metrics agree within 0.005; of 20,000, average precision differed by up to 0.012.
ROWS = 60_000
LONG = {"n_estimators": 1000, "num_leaves": 15}


@pytest.fixture(scope="module")
def pool(cluster: LocalCluster) -> Iterator[ClusterPool]:
    """Return its workers."""
    with closing(cluster.pool()) as pool:
        yield pool


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few rows fitted by several workers too: such fits are short."""
    monkeypatch.setattr(data_parallel_work, "LEAST", 100)


@pytest.fixture(scope="module")
def large() -> Dataset:
    return load_data(rows=ROWS, seed=3)


def config_of(dataset: Dataset) -> TrainConfig:
    """Return the settings for a task."""
    metrics: dict[str, Metric] = {"binary": "average_precision", "multiclass": "f1_macro", "regression": "rmse"}
    return TrainConfig(metric=metrics[dataset.task])


def fit(pool: ClusterPool, dataset: Dataset, overrides: dict[str, Any], lines: list[str] | None = None) -> FitResult:
    """Fit a variant over a cluster's workers."""
    told: list[str] = [] if lines is None else lines
    spread = DistributedFit(pool, told.append)
    return fit_planned(make_variant(overrides), dataset, config_of(dataset), fit=spread.fit_pipeline)


def fit_here(dataset: Dataset, overrides: dict[str, Any]) -> FitResult:
    """Fit a variant in this process."""
    return fit_planned(make_variant(overrides), dataset, config_of(dataset))


def distance(one: FitResult, other: FitResult) -> float:
    """Return the largest difference of a metric that does not hang on where the threshold came to lie."""
    named = ("average_precision", "roc_auc", "log_loss", "f1", "rmse", "r2", "f1_macro", "accuracy")
    pairs = [(one.test, other.test), (one.validation, other.validation)]
    return max(abs(left[name] - right[name]) for left, right in pairs for name in named if name in left)


def test_metrics_are_those_of_one_machine(pool: ClusterPool, large: Dataset) -> None:
    overrides = {"num_leaves": 15}
    here = fit_here(large, overrides)
    there = fit(pool, large, overrides)
    assert distance(here, there) <= 0.005
    # The first tree is the same; later ones differ.
    assert there.loss[0] == pytest.approx(here.loss[0], abs=1e-12)
    assert there.params == here.params
    assert there.effective == here.effective
    assert vars(there.pipeline[-1]).keys() == vars(here.pipeline[-1]).keys()


def test_models_are_equal_but_for_numbers_of_rows(pool: ClusterPool, make_table: Callable[..., Dataset]) -> None:
    """Bit for bit, where the rows of a leaf decide nothing: all else is what one process would compute."""
    table = generate_sessions(8000, 5)
    numbers = table.select_dtypes("number").columns
    dataset = make_table(table[[*numbers.drop("purchase", errors="ignore")]].assign(y=table["purchase"]))
    overrides = {"n_estimators": 60, "min_child_samples": 0, "min_child_weight": 3.0}
    here, there = fit_here(dataset, overrides), fit(pool, dataset, overrides)
    assert there.loss == here.loss
    texts = [one.pipeline[-1].booster_.model_to_string() for one in (here, there)]
    # What is written of the rows that a node has is that estimate; the sizes are those of the texts.
    one, other = (re.sub(r"(leaf_count|internal_count|tree_sizes)=.*", "", text) for text in texts)
    assert one == other
    assert there.pipeline[-1].booster_.params == here.pipeline[-1].booster_.params


def test_few_rows_are_one_workers(pool: ClusterPool, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the model is that of one machine, bit for bit."""
    monkeypatch.setattr(data_parallel_work, "LEAST", 50_000)
    lines: list[str] = []
    here, there = fit_here(dataset, {"n_estimators": 10}), fit(pool, dataset, {"n_estimators": 10}, lines)
    assert len(lines) == 1
    assert lines[0].startswith("1 of 2 workers fit: a part has at least 50,000 of the ")
    assert there.pipeline[-1].booster_.model_to_string() == here.pipeline[-1].booster_.model_to_string()


def test_early_stopping_agrees(pool: ClusterPool, large: Dataset) -> None:
    """All workers watch the same rows, so all stop after the same iteration: else the fit would hang."""
    overrides = {"n_estimators": 400, "early_stopping_round": 20, "num_leaves": 15, "learning_rate": 0.05}
    there = fit(pool, large, overrides)
    assert there.iterations < len(there.loss) < 400
    assert there.iterations == len(there.loss) - 20
    assert distance(fit_here(large, overrides), there) <= 0.005


def test_part_may_lack_a_class(pool: ClusterPool, make_table: Callable[..., Dataset]) -> None:
    """Of sorted rows, each worker has those of some classes only; weights of classes are those of all rows."""
    rng = np.random.default_rng(1)
    y = np.sort(rng.integers(0, 3, 3000))
    table = pd.DataFrame({"a": y + rng.normal(0, 0.7, 3000), "b": rng.normal(size=3000), "y": np.array(list("pqr"))[y]})
    dataset = make_table(table, task="multiclass")
    overrides: dict[str, Any] = {"n_estimators": 30, "num_leaves": 7, "class_weight": "balanced"}
    there = fit(pool, dataset, overrides)
    here = fit_here(dataset, overrides)
    assert list(there.pipeline[-1].classes_) == ["p", "q", "r"]
    assert there.loss[0] == pytest.approx(here.loss[0], abs=1e-9)
    assert there.test["accuracy"] == pytest.approx(here.test["accuracy"], abs=0.02)


def test_regression_is_fitted_too(pool: ClusterPool, make_table: Callable[..., Dataset]) -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"a": rng.normal(size=3000), "b": rng.choice(["x", "y"], 3000)})
    table["y"] = table["a"] * 3 + (table["b"] == "x") + rng.normal(0, 0.1, 3000)
    dataset = make_table(table, task="regression")
    here = fit_here(dataset, {"n_estimators": 30})
    there = fit(pool, dataset, {"n_estimators": 30})
    assert distance(here, there) <= 1e-6


def test_file_that_a_worker_lacks_is_named(pool: ClusterPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, whatever it is called: the fit does not start again."""
    file = tmp_path / "network.csv"
    generate_sessions(2000, 5).to_csv(file, index=False)
    dataset = load_data(file, target="purchase", stream="always")
    cut = data_parallel_work.Prepared.cut

    def vanish(self: data_parallel_work.Prepared, processes: int) -> Any:
        done = cut(self, processes)
        file.unlink()
        return done

    monkeypatch.setattr(data_parallel_work.Prepared, "cut", vanish)
    lines: list[str] = []
    with pytest.raises(TrainerError, match=r"worker \S+: .*network\.csv: no such file"):
        fit(pool, dataset, {"n_estimators": 5}, lines)
    assert lines == []


# What is lost ---------------------------------------------------------------------------------------------------------


def fitting_process(worker: int) -> int | None:
    """Return the process that fits for a worker, once it is connected to the two others."""
    for child in programs.children(worker):
        with suppress(OSError):
            files = [str(file.readlink()) for file in Path(f"/proc/{child}/fd").iterdir()]
            # One more leads to the worker.
            if sum(name.startswith("socket:") for name in files) >= 3:
                return child
    return None


def kill_in_mid_fit(worker: int, find: Callable[[int], int | None]) -> list[float]:
    """Kill what ``find`` returns when the worker's process fits; the list that is returned then gets the time."""
    killed: list[float] = []

    def kill() -> None:
        wait_until(lambda: fitting_process(worker) is not None, "the worker fits")
        victim = find(worker)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        killed.append(time.monotonic())

    threading.Thread(target=kill).start()
    return killed


@pytest.mark.parametrize("victim", ["worker", "process"])
def test_lost_worker_hangs_nothing(tmp_path: Path, victim: str) -> None:
    """The fit starts again on those that are left, within a minute."""
    dataset = load_data(rows=8000, seed=4)
    lines: list[tuple[float, str]] = []
    with local_cluster(tmp_path, 3) as cluster, closing(cluster.pool()) as pool:
        worker = cluster.processes[-1].pid
        killed = kill_in_mid_fit(worker, fitting_process if victim == "process" else lambda pid: pid)
        spread = DistributedFit(pool, lambda line: lines.append((time.monotonic(), line)))
        done = fit_planned(make_variant(LONG), dataset, TrainConfig(), fit=spread.fit_pipeline)
        assert done.iterations == LONG["n_estimators"]
        ((told, line),) = lines
        assert "died" in line
        assert line.endswith("the fit starts again on the workers that are left")
        assert told - killed[0] < 60
        assert pool.look() == (3 if victim == "process" else 2)
        # No process of the fit is left.
        for process in cluster.processes[1:]:
            if process.poll() is None:
                assert not programs.children(process.pid)


def test_fit_that_kills_workers_is_given_up(
    pool: ClusterPool, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started a bounded number of times, and ends with one line."""
    attempts: list[int] = []

    def lose(self: DistributedFit, prepared: Any, workers: int) -> Any:
        attempts.append(workers)
        raise distributed_fit._LostError("worker one died")

    monkeypatch.setattr(DistributedFit, "_attempt", lose)
    lines: list[str] = []
    with pytest.raises(TrainerError, match=f"the fit was started {ATTEMPTS} times, and each time: worker one died"):
        fit(pool, dataset, {}, lines)
    assert len(attempts) == ATTEMPTS
    assert len(lines) == ATTEMPTS - 1
    # Others may have the workers again.
    assert pool.scheduler.take_turn()
    pool.scheduler.end_turn()


def test_refusal_is_not_tried_again(pool: ClusterPool, dataset: Dataset) -> None:
    lines: list[str] = []
    variant = make_variant({"n_estimators": 5})
    variant.params["max_bin"] = 1  # type: ignore[index]
    with pytest.raises(TrainerError, match="LightGBM refuses"):
        fit_planned(variant, dataset, TrainConfig(), fit=DistributedFit(pool, lines.append).fit_pipeline)
    assert lines == []


def test_second_fit_waits(cluster: LocalCluster, pool: ClusterPool, dataset: Dataset) -> None:
    """Two at once would wait for each other's workers without end."""
    assert pool.scheduler.take_turn()
    lines: list[str] = []
    done: list[FitResult] = []
    with closing(cluster.pool()) as other:
        thread = threading.Thread(target=lambda: done.append(fit(other, dataset, {"n_estimators": 5}, lines)))
        thread.start()
        wait_until(lambda: bool(lines), "the second fit waits")
        assert not done
        pool.scheduler.end_turn()
        thread.join(120)
    assert lines == ["another fit has the cluster's workers: this one waits for its end"]
    assert done[0].iterations == 5


def test_client_that_is_gone_ends_its_turn(cluster: LocalCluster, pool: ClusterPool) -> None:
    with closing(cluster.pool()) as other:
        assert other.scheduler.take_turn()
        assert not pool.scheduler.take_turn()
    wait_until(pool.scheduler.take_turn, "the turn is free again")
    pool.scheduler.end_turn()


def test_rows_larger_than_the_room_are_one_line(
    pool: ClusterPool, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part may fit where all parts do not."""
    ask = pool.scheduler.ask

    def small(what: str, **arguments: Any) -> Any:
        reply = ask(what, **arguments)
        return reply | {"room": 60_000} if what == "trainer_need" else reply

    monkeypatch.setattr(pool.scheduler, "ask", small)
    with pytest.raises(ClusterError, match="MiB of rows are more than the scheduler keeps"):
        fit(pool, dataset, {})


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tracked(cluster: LocalCluster, server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Set the server, the scheduler and the certificates for the command line; return a client of the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("TRAINER_CLUSTER", cluster.address)
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    return MlflowClient(server)


def test_run_is_like_any_other(tracked: MlflowClient, trainer: Callable[..., Answer], tmp_path: Path) -> None:
    """The same parameters, metrics and files; its config.yaml repeats it on the cluster."""
    arguments = ("train", "--n-estimators", "20", "--json")
    here = trainer(*arguments, "--experiment", "alone")
    there = trainer(*arguments, "--experiment", "spread", "--distributed")
    assert there.code == 0, there.err
    assert "one fit over 2 workers on the cluster" in there.err
    (one,), (other,) = runs_of(tracked, "alone"), runs_of(tracked, "spread")
    assert other.info.status == "FINISHED"
    assert other.data.params == one.data.params
    assert other.data.metrics.keys() == one.data.metrics.keys()
    assert other.data.tags.keys() == one.data.tags.keys()
    assert other.data.tags["trainer.identity"] != one.data.tags["trainer.identity"]
    paths = [sorted(file.path for file in tracked.list_artifacts(run.info.run_id)) for run in (one, other)]
    assert paths[0] == paths[1]
    assert here.json.keys() == there.json.keys()
    said = []
    for run in (one, other):
        file = tracked.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
        said.append(yaml.safe_load(Path(file).read_text()).get("distributed"))
    assert said == [None, True]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--distributed", "--estimator", "sklearn.dummy:DummyClassifier"), "--distributed is LightGBM's"),
        (("--distributed", "--cluster", "http://x"), "--cluster: 'http://x' is not allowed"),
        (("--cluster", "http://x"), "--cluster: 'http://x' is not allowed"),
    ],
)
def test_wrong_use_is_one_line(
    tracked: MlflowClient, trainer: Callable[..., Answer], arguments: tuple[str, ...], error: str
) -> None:
    answer = trainer("train", *arguments)
    assert answer.code == 2
    assert answer.error.startswith(error)
