"""Searches on a cluster: the study stays here, and the trials' reports come from the workers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState
from trainer.data.dataset import Dataset
from trainer.runs.plan import Plan
from trainer.searches.pruning_callback import STEPS
from trainer.searches.search import SearchFailedError, Settings, run_search
from trainer.searches.space import Dimension, Space
from trainer.searches.storage import open_storage
from trainer.tracking.connection import connect
from trainer.tracking.tags import FAILURE_TAG

from .. import programs
from ..conftest import Answer
from ..parallel.cluster_processes import LocalCluster, local_cluster, runs_of, wait_until

pytestmark = pytest.mark.process

#: A slow learner's log loss is the worse one from the first tree on. The second dimension keeps trials apart.
PRUNABLE = (
    "learning_rate: [0.000001, 0.3]\nsubsample_for_bin: {low: 100000, high: 200000}\nn_estimators: 20\nnum_leaves: 6\n"
)
LONG = "num_leaves: {low: 6, high: 40}\nn_estimators: "


@pytest.fixture
def tracked(server: str, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Set the server for the command line; return a client of it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return MlflowClient(server)


@pytest.fixture
def search(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Return a function that searches a space, of which ``--cluster`` has the address."""
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))

    def run(space: str, *arguments: Any) -> Answer:
        Path("space.yaml").write_text(space)
        return trainer("search", "--space", "space.yaml", "--no-register", "--json", *arguments)

    return run


def trials(storage: str = "optuna.journal") -> list[FrozenTrial]:
    opened = open_storage(storage)
    (found,) = optuna.get_all_study_names(opened)
    return list(optuna.load_study(storage=opened, study_name=found).trials)


def made(answer: Answer) -> list[tuple[Any, ...]]:
    return [(one["overrides"], one["metrics"], one["pruned"]) for one in answer.json["variants"]]


def test_worker_imports_no_optuna() -> None:
    code = "import sys, trainer.searches.tasks; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_same_trials_wherever_they_run(
    cluster: LocalCluster, tracked: MlflowClient, search: Callable[..., Answer]
) -> None:
    """With one trial at a time: the first four here, the rest on the workers, and the same ones all here."""
    space = PRUNABLE.replace("[0.000001, 0.3]", "{low: 0.000001, high: 0.3, log: true}")
    common = ("--jobs", 1, "--metric", "log_loss")
    here = search(space, *common, "--trials", 12, "--experiment", "here", "--storage", "here.journal")
    search(space, *common, "--trials", 4, "--experiment", "there")
    there = search(space, *common, "--trials", 12, "--experiment", "there", "--cluster", cluster.address)
    assert there.code == 0, there.err
    assert f"4 of 12 trials, 1 at a time on the cluster {cluster.address}" in there.err
    assert made(there) == made(here)
    assert [one for one in made(there)[4:] if one[2] is not None]
    values = [[one.intermediate_values for one in trials(name)] for name in ("here.journal", "optuna.journal")]
    assert values[0] == values[1]
    assert len([run for run in runs_of(tracked, "there") if "mlflow.parentRunId" not in run.data.tags]) == 1


def test_pruning_works_across_workers(
    cluster: LocalCluster, tracked: MlflowClient, search: Callable[..., Answer]
) -> None:
    done = search(
        PRUNABLE, "--trials", 14, "--sampler", "random", "--metric", "log_loss", "--experiment", "pruned",
        "--cluster", cluster.address, "--storage", "sqlite:///trials.db",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "0 of 14 trials, 2 at a time" in done.err
    pruned = [one for one in done.json["variants"] if one["pruned"] is not None]
    assert pruned
    assert {one["overrides"]["learning_rate"] for one in pruned} == {0.000001}
    assert all(5 <= one["pruned"] < 20 for one in pruned)
    killed = {run.info.run_id for run in runs_of(tracked, "pruned") if run.info.status == "KILLED"}
    assert killed == {one["run_id"] for one in pruned}
    states = [trial.state for trial in trials("sqlite:///trials.db")]
    assert (states.count(TrialState.PRUNED), states.count(TrialState.COMPLETE)) == (len(pruned), 14 - len(pruned))


def test_failed_trials_end_the_search(
    cluster: LocalCluster, tracked: MlflowClient, server: str, dataset: Dataset, plan: Plan
) -> None:
    broken = Space((Dimension("learning_rate", low=0.1, high=0.2),), {"max_bin": -7})
    plan = replace(plan, destination=connect(server, "failed search"))
    with (
        closing(cluster.pool()) as pool,
        pytest.raises(SearchFailedError, match=r"2 trials failed; trial \d: LightGBM refuses"),
    ):
        run_search(broken, {"n_estimators": 5}, dataset, plan, pool, Settings(2, "optuna.journal"))
    children = [run for run in runs_of(tracked, "failed search") if "mlflow.parentRunId" in run.data.tags]
    assert [run.info.status for run in children] == ["FAILED"] * 2
    assert [trial.state for trial in trials()] == [TrialState.FAIL] * 2


def start(cluster: LocalCluster, server: str, workdir: Path, experiment: str, count: int) -> Any:
    """Start a search of long trials, and wait until so many of them run."""
    (workdir / "space.yaml").write_text(LONG + "10000\n")
    process = programs.start_trainer(
        "search", "--space", "space.yaml", "--experiment", experiment, "--cluster", cluster.address,
        "--tracking-uri", server, cwd=workdir, TRAINER_CLUSTER_CERTIFICATES=str(cluster.client.folder),
    )  # fmt: skip
    client = MlflowClient(server)
    try:
        wait_until(lambda: len(runs_of(client, experiment)) == count + 1, f"{count} trials run")
        wait_until(lambda: any(trial.intermediate_values for trial in trials()), "a trial has reported")
    except BaseException:
        process.kill()
        raise
    return process


def test_interrupt_frees_the_trials(cluster: LocalCluster, tracked: MlflowClient, server: str, workdir: Path) -> None:
    process = start(cluster, server, workdir, "stopped search", 2)
    try:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "trainer: error: interrupted"
    assert [run.info.status for run in runs_of(tracked, "stopped search")] == ["KILLED"] * 3
    assert [trial.state for trial in trials()] == [TrialState.FAIL] * 2


def test_killed_scheduler_ends_the_search(tracked: MlflowClient, server: str, workdir: Path) -> None:
    """In one line, with no run and no trial left running."""
    with local_cluster(workdir, 1) as cluster:
        process = start(cluster, server, workdir, "headless search", 1)
        try:
            cluster.scheduler.kill()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.endswith("the scheduler is gone; the same command goes on where this one was")
    wait_until(
        lambda: {run.info.status for run in runs_of(tracked, "headless search")} <= {"FAILED", "KILLED"}, "all ended"
    )
    assert [trial.state for trial in trials()] == [TrialState.FAIL]


def test_trial_of_a_dead_worker_is_repeated(
    tracked: MlflowClient, search: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same parameters; its half-made run says why it failed; no trial is finished twice."""
    with local_cluster(tmp_path, 1) as cluster:
        monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
        victim = cluster.start_worker(stops=tmp_path / "half-way")

        def kill() -> None:
            wait_until((tmp_path / "half-way").exists, "its trial is half-way")
            victim.kill()

        threading.Thread(target=kill, daemon=True).start()
        done = search(f"{LONG}40\n", "--trials", 3, "--experiment", "killed search", "--cluster", cluster.address)
    assert done.code == 0, done.err
    children = [run for run in runs_of(tracked, "killed search") if "mlflow.parentRunId" in run.data.tags]
    assert sorted(run.info.status for run in children) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    (failed,) = [run for run in children if run.info.status == "FAILED"]
    assert failed.data.tags[FAILURE_TAG].endswith(" died")
    (twin,) = [
        run for run in children if run.info.run_name == failed.info.run_name and run.info.run_id != failed.info.run_id
    ]
    assert twin.data.params == failed.data.params
    found = trials()
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 3
    finished = {run.info.run_id for run in children if run.info.status == "FINISHED"}
    assert {trial.user_attrs["run_id"] for trial in found} == finished
    assert [len(trial.intermediate_values) for trial in found] == [STEPS] * 3
