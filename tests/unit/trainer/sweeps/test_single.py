"""One variant that a cluster's worker trains: the run that it would have here, and the same ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from trainer.config.variant import Variant, complete_params
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.runs.plan import Plan
from trainer.sweeps.single import train_on_worker
from trainer.tracking.connection import connect
from trainer.tracking.tags import FAILURE_TAG
from trainer.util.errors import TrainerError
from trainer.util.user import user_name

from .. import programs
from ..conftest import Answer
from ..parallel.cluster_processes import LocalCluster, local_cluster, runs_of, wait_until

pytestmark = pytest.mark.process


def test_run_is_that_of_this_machine(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting sends it there, as the option does."""
    arguments = ("train", "--n-estimators", "30", "--register", "--json")
    here = trainer(*arguments, "--experiment", "one here", "--model-name", "here")
    monkeypatch.setenv("TRAINER_CLUSTER", cluster.address)
    there = trainer(*arguments, "--experiment", "one there", "--model-name", "there")
    assert there.code == 0, there.err
    assert f"one worker's run on the cluster {cluster.address}" in there.err
    assert there.json["metrics"] == here.json["metrics"]
    assert there.json["registered"]["uri"] == "models:/there/1"
    (one,), (other,) = runs_of(tracked, "one here"), runs_of(tracked, "one there")
    assert (one.info.status, other.info.status) == ("FINISHED", "FINISHED")
    assert one.data.params == other.data.params
    assert one.data.tags.keys() == other.data.tags.keys()
    paths = [sorted(file.path for file in tracked.list_artifacts(run.info.run_id)) for run in (one, other)]
    assert paths[0] == paths[1]


def test_run_is_its_users(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the worker's, who is somebody else."""
    monkeypatch.setenv("LOGNAME", "alice")
    assert user_name() == "alice"
    done = trainer("--n-estimators", "3", "--experiment", "hers", "--cluster", cluster.address)
    assert done.code == 0, done.err
    assert [run.data.tags["mlflow.user"] for run in runs_of(tracked, "hers")] == ["alice"]


#: A command in an interpreter of its own, which says in the end how it went, and what it has imported.
COLD = """
import sys
from trainer.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    heavy = "numpy._core pandas._libs pyarrow.lib mlflow lightgbm sklearn matplotlib jinja2"
    print(end.code, {*heavy.split()} & {*sys.modules})
"""


@pytest.mark.parametrize("command", [("train", "--n-estimators", "3"), ("sweep", "--grid", "n_estimators=3,4")])
def test_command_imports_little(
    cluster: LocalCluster, tracked: MlflowClient, command: tuple[str, ...], tmp_path: Path
) -> None:
    """The workers have imported it all, and began to read and to train before this process could have."""
    arguments = [*command, "--experiment", f"little {command[0]}", "--register", "--cluster", cluster.address]
    python = [sys.executable, "-c", COLD]
    done = subprocess.run([*python, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines()[-1] == "0 set()", done.stderr


@pytest.mark.parametrize(
    "options", [("--stream", "always"), ("--baselines",), ("--group", "month")], ids=lambda x: x[0]
)
def test_command_that_reads_itself(
    cluster: LocalCluster,
    tracked: MlflowClient,
    trainer: Callable[..., Answer],
    options: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """It imports what it then needs: data in passes, and files that no worker sees, by their names in this folder."""
    (file := tmp_path / "sessions.csv").write_text(generate_sessions(900).to_csv(index=False))
    sweep = ["sweep", "--grid", "n_estimators=3,4", "--target", "purchase", *options, "--json", "--no-register"]
    here = trainer(*sweep, "--data", str(file), "--experiment", f"here {options[0]}")
    # In passes, each worker reads its rows of the file.
    data = str(file) if "--stream" in options else file.name
    there = [*sweep, "--data", data, "--experiment", f"there {options[0]}", "--cluster", cluster.address]
    python = [sys.executable, "-c", COLD]
    done = subprocess.run([*python, *there], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    said, _, imported = done.stdout.rstrip().rpartition("\n")
    assert imported.startswith("0 "), done.stderr
    assert "pandas._libs" in imported
    assert [one["metrics"] for one in json.loads(said)["variants"]] == [one["metrics"] for one in here.json["variants"]]


def test_other_estimator_goes_there_too(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer]
) -> None:
    arguments = ("--estimator", "sklearn.linear_model:LogisticRegression", "--experiment", "other", "--json")
    there = trainer(*arguments, "--cluster", cluster.address)
    assert there.code == 0, there.err
    assert there.json["metrics"] == trainer(*arguments).json["metrics"]


def said_of_data(answer: Answer) -> list[str]:
    return [line for line in answer.err.splitlines() if line.startswith("trainer: data ")]


def inputs_of(client: MlflowClient, run_id: str) -> list[dict[str, str]]:
    inputs = client.get_run(run_id).inputs
    return [one.dataset.to_dictionary() for one in inputs.dataset_inputs] if inputs else []


def test_worker_reads_what_it_sees(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], tmp_path: Path
) -> None:
    """With the same lines, metrics and inputs, whether the worker or this process has read the table; errors too."""
    table = generate_sessions(700)
    table.to_csv(tmp_path / "sessions.csv", index=False)
    for name, part in (("one", table[:300]), ("two", table[300:600])):
        (tmp_path / "parts").mkdir(exist_ok=True)
        part.to_csv(tmp_path / "parts" / f"{name}.csv", index=False)
    # Of a pattern no worker is asked.
    for data in ("sessions.csv", "parts", "parts/*.csv"):
        arguments = ("--n-estimators", "5", "--data", str(tmp_path / data), "--target", "purchase", "--json")
        here, there = trainer(*arguments), trainer(*arguments, "--cluster", cluster.address)
        assert there.code == 0, there.err
        assert there.json["metrics"] == here.json["metrics"]
        assert said_of_data(there) == said_of_data(here) != []
        assert inputs_of(tracked, there.json["run_id"]) == inputs_of(tracked, here.json["run_id"]) != []
    (tmp_path / "sessions.csv").write_text("purchase,x\n1,1\n1,2\n")
    wrong = ("--data", str(tmp_path / "sessions.csv"), "--target", "purchase")
    here, there = trainer(*wrong), trainer(*wrong, "--cluster", cluster.address)
    assert (there.code, there.error) == (here.code, here.error) == (2, here.error)
    missing = ("--data", str(tmp_path / "no.csv"), "--target", "purchase")
    here, there = trainer(*missing), trainer(*missing, "--cluster", cluster.address)
    assert (there.code, there.error) == (here.code, here.error)


def test_failed_fit_fails_the_run(
    cluster: LocalCluster, tracked: MlflowClient, server: str, dataset: Dataset, plan: Plan
) -> None:
    params = {**complete_params({"n_estimators": 10}), "max_bin": -7}
    destination = connect(server, "failed alone")
    with closing(cluster.pool()) as pool, pytest.raises(TrainerError, match="LightGBM refuses"):
        train_on_worker(
            pool, Variant("broken", params, {"max_bin": -7}), dataset, replace(plan, destination=destination)
        )
    assert [run.info.status for run in runs_of(tracked, "failed alone")] == ["FAILED"]


def test_interrupt_marks_the_run_killed(
    cluster: LocalCluster, tracked: MlflowClient, server: str, tmp_path: Path
) -> None:
    process = programs.start_trainer(
        "--n-estimators", "20000", "--experiment", "stopped alone", "--cluster", cluster.address,
        "--tracking-uri", server, cwd=tmp_path, TRAINER_CLUSTER_CERTIFICATES=str(cluster.client.folder),
    )  # fmt: skip
    try:
        wait_until(lambda: len(runs_of(tracked, "stopped alone")) == 1, "it runs")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "trainer: error: interrupted"
    assert [run.info.status for run in runs_of(tracked, "stopped alone")] == ["KILLED"]


def test_dead_worker_loses_nothing(
    tracked: MlflowClient, trainer: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker trains the variant; the half-made run says why it failed."""
    with local_cluster(tmp_path, 1) as cluster:
        monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
        victim = cluster.processes[-1]

        def kill() -> None:
            wait_until(lambda: len(runs_of(tracked, "killed alone")) == 1, "it runs")
            cluster.start_worker()
            victim.kill()

        threading.Thread(target=kill, daemon=True).start()
        arguments = ("--n-estimators", "1500", "--experiment", "killed alone", "--cluster", cluster.address)
        done = trainer(*arguments)
    assert done.code == 0, done.err
    runs = {run.info.status: run for run in runs_of(tracked, "killed alone")}
    assert set(runs) == {"FAILED", "FINISHED"}
    assert runs["FAILED"].data.tags[FAILURE_TAG].endswith(" died")
