"""Sweeps on a cluster: the same results as on one machine, and the same ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from trainer.config.variant import Variant, complete_params
from trainer.data.dataset import Dataset
from trainer.runs.plan import Plan
from trainer.sweeps.sweep import SweepFailedError, run_sweep
from trainer.tracking.connection import connect
from trainer.tracking.tags import FAILURE_TAG, KEY_TAG

from .. import programs
from ..conftest import Answer, Proxy
from ..parallel.cluster_processes import LocalCluster, local_cluster, runs_of, wait_until

pytestmark = pytest.mark.process

#: One variant more than there are workers.
SWEEP = ("sweep", "--paired", "num_leaves=7,15,9", "--paired", "n_estimators=20,30,25", "--no-register", "--json")


def start(cluster: LocalCluster, server: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command line on the cluster, in a process and a folder of its own."""
    certificates = str(cluster.client.folder)
    where = ("--cluster", cluster.address, "--tracking-uri", server)
    return programs.start_trainer(*arguments, *where, cwd=folder, TRAINER_CLUSTER_CERTIFICATES=certificates)


@pytest.mark.parametrize("folds", [(), ("--cv", "3")], ids=["hold-out", "cross-validation"])
def test_sweep_has_the_same_metrics_to_the_bit(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], folds: tuple[str, ...]
) -> None:
    here = trainer(*SWEEP, *folds, "--experiment", f"here{len(folds)}")
    there = trainer(*SWEEP, *folds, "--experiment", f"there{len(folds)}", "--cluster", cluster.address)
    assert there.code == 0, there.err
    assert [one["metrics"] for one in there.json["variants"]] == [one["metrics"] for one in here.json["variants"]]
    assert f"2 at a time on the cluster {cluster.address}" in there.err
    runs = runs_of(tracked, f"there{len(folds)}")
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert len(runs) == 4
    assert parents == {None, there.json["run_id"]}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_sweep_resumes(cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer]) -> None:
    """What one machine has finished is not trained again on the cluster."""
    trainer(*SWEEP, "--experiment", "resumed")
    there = trainer(*SWEEP, "--experiment", "resumed", "--cluster", cluster.address)
    assert "3 of 3 variants finished before" in there.err


def test_failed_variant_lets_others_finish(
    cluster: LocalCluster, tracked: MlflowClient, server: str, dataset: Dataset, plan: Plan
) -> None:
    base = complete_params({"n_estimators": 10})
    variants = [Variant("broken", {**base, "max_bin": -7}, {"max_bin": -7}), Variant("whole", base, {})]
    destination = connect(server, "failed")
    with (
        closing(cluster.pool()) as pool,
        pytest.raises(SweepFailedError, match="1 of 2 variants failed; broken: LightGBM refuses"),
    ):
        run_sweep(variants, dataset, replace(plan, destination=destination), pool)
    status = {run.info.run_name: run.info.status for run in runs_of(tracked, "failed")}
    assert status == {"broken": "FAILED", "whole": "FINISHED", "sweep": "FAILED"}


def test_interrupted_sweep_leaves_no_run_running(
    cluster: LocalCluster, tracked: MlflowClient, server: str, tmp_path: Path
) -> None:
    arguments = ("sweep", "--grid", "n_estimators=20000,20001,20002", "--experiment", "stopped")
    process = start(cluster, server, tmp_path, *arguments)
    try:
        wait_until(lambda: len(runs_of(tracked, "stopped")) == 3, "two variants run")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "trainer: error: interrupted"
    assert {run.info.status for run in runs_of(tracked, "stopped")} == {"KILLED"}


def test_interrupt_while_a_worker_creates_the_parent(
    cluster: LocalCluster, tracked: MlflowClient, proxy: Proxy, tmp_path: Path
) -> None:
    """The run is there, and the command has not heard of it; it is ended all the same."""
    arguments = ("sweep", "--grid", "n_estimators=20000,20001", "--experiment", "early")
    process = start(cluster, proxy.url, tmp_path, *arguments)

    def press(_method: str, path: str, count: int) -> Callable[[], None] | None:
        first = path.endswith("/runs/create") and count == 0
        return (lambda: process.send_signal(signal.SIGINT)) if first else None

    proxy.fault = press
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err.splitlines()[-1]) == (130, "trainer: error: interrupted"), err
    assert [(run.info.run_name, run.info.status) for run in runs_of(tracked, "early")] == [("sweep", "KILLED")]


def test_interrupt_while_a_worker_reads(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer], server: str, tmp_path: Path
) -> None:
    """From a pipe that nobody writes to; the worker then has time for the next command."""
    os.mkfifo(tmp_path / "pipe.csv")
    arguments = ("sweep", "--grid", "n_estimators=2,3", "--data", str(tmp_path / "pipe.csv"), "--experiment", "unread")
    process = start(cluster, server, tmp_path, *arguments)
    opened = Writer(tmp_path / "pipe.csv")
    try:
        wait_until(opened.attempt, "somebody reads")
        wait_until(lambda: any(has_open(worker.pid, "pipe.csv") for worker in cluster.processes), "a worker reads")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        opened.close()
    assert (process.returncode, err.splitlines()[-1]) == (130, "trainer: error: interrupted"), err
    assert tracked.get_experiment_by_name("unread") is None
    assert trainer(*SWEEP, "--experiment", "read", "--cluster", cluster.address).code == 0


def has_open(process: int, name: str) -> bool:
    """Tell whether a process has a file of this name open."""
    with suppress(OSError):
        return any(file.readlink().name == name for file in Path(f"/proc/{process}/fd").iterdir())
    return False


class Writer:
    """Holds a pipe open for writing, and writes nothing: that can be had, without waiting, once somebody reads."""

    def __init__(self, pipe: Path) -> None:
        self._pipe, self._file = pipe, -1

    def attempt(self) -> bool:
        """Try to open it, and tell whether it is open."""
        with suppress(OSError):
            self._file = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        return self._file != -1

    def close(self) -> None:
        """Let it go."""
        if self._file != -1:
            os.close(self._file)


def test_variant_of_a_dead_worker_is_trained_again(
    tracked: MlflowClient, trainer: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its half-made run says why it failed; no variant is finished twice."""
    with local_cluster(tmp_path, 1) as cluster:
        monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
        victim = cluster.start_worker(stops=tmp_path / "half-way")

        def kill() -> None:
            wait_until((tmp_path / "half-way").exists, "its variant is half-way")
            victim.kill()

        threading.Thread(target=kill, daemon=True).start()
        arguments = ("sweep", "--grid", "n_estimators=10,11,12", "--experiment", "killed", "--no-register")
        done = trainer(*arguments, "--cluster", cluster.address, "--json")
    assert done.code == 0, done.err
    runs = runs_of(tracked, "killed")
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    ended = [run.info.status for run in children]
    assert sorted(ended) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    (failed,) = [run for run in children if run.info.status == "FAILED"]
    assert failed.data.tags[FAILURE_TAG].endswith(" died")
    names = [run.info.run_name for run in children if run.info.status == "FINISHED"]
    assert len(set(names)) == 3
    assert len({run.data.tags[KEY_TAG] for run in children}) == 4


def test_cluster_needs_a_tracking_server(
    cluster: LocalCluster, trainer: Callable[..., Answer], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    answer = trainer("sweep", "--cluster", cluster.address)
    assert answer.code == 2
    assert answer.error.startswith("--cluster: the workers need a tracking server")


def test_missing_scheduler_is_one_line(
    cluster: LocalCluster, tracked: MlflowClient, trainer: Callable[..., Answer]
) -> None:
    answer = trainer("sweep", "--cluster", "tls://127.0.0.1:9", "--wait", "0.5")
    assert answer.code == 1
    assert "no scheduler answers: Connection refused (--cluster" in answer.error
