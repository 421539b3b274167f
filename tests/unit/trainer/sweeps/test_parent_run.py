"""A sweep's parent run: what it holds in the end is logged by the engine's processes, and on a cluster all of it is."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.parallel.pool import TaskDiedError
from trainer.runs.plan import Plan, TrainResult
from trainer.sweeps import parent_run
from trainer.sweeps.comparison_files import Drawing, write_plots
from trainer.sweeps.parent_run import Comparison, Opening, create_parent, log_beginning, log_comparison
from trainer.sweeps.sweep import run_sweep
from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import Destination
from trainer.tracking.connection import connect
from trainer.tracking.inputs import described_inputs
from trainer.tracking.tags import FAILURE_TAG
from trainer.util.errors import TrackingError

from ..conftest import warm_pool
from ..parallel.cluster_processes import LocalCluster

pytestmark = pytest.mark.process

RESULTS = [
    TrainResult(f"num_leaves={leaves}", {}, metrics={"validation_average_precision": score})
    for leaves, score in ((4, 0.5), (8, 0.75))
]
VARIANTS = [({"num_leaves": leaves}, result) for leaves, result in zip((4, 8), RESULTS, strict=True)]


def comparison_of(target: Destination, run_id: str, **fields: Any) -> Comparison:
    drawing = Drawing(VARIANTS, "data", "both", "trials")
    return Comparison(
        target, run_id, {"f1": 0.5}, {"best": "8"}, RESULTS, "t.csv", "sweep", {"cv": 3}, drawing, **fields
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def logged(target: Destination, run_id: str, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    return Path(download_artifacts(run_id=run_id, tracking_uri=target.uri, dst_path=str(to)))


def new_run(target: Destination) -> str:
    return str(MlflowClient(target.uri).create_run(target.experiment_id).info.run_id)


def test_pools_process_logs_the_comparison(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = new_run(plan.destination)
    comparison = comparison_of(plan.destination, run_id, folder="after_2", end=True)
    write_plots(tmp_path / "here", comparison.drawing)
    # What the pool's processes call is theirs.
    monkeypatch.delattr(parent_run, "write_plots")
    log_comparison(warm_pool(1), comparison)
    files = logged(plan.destination, run_id, tmp_path / "there") / "after_2"
    assert contents(files / "plots") == contents(tmp_path / "here") != {}
    assert {path.name for path in files.iterdir()} == {"plots", "t.csv", "config.yaml"}
    run = MlflowClient(plan.destination.uri).get_run(run_id)
    assert (run.data.metrics, run.data.tags["best"], run.info.status) == ({"f1": 0.5}, "8", "FINISHED")


def test_worker_of_a_cluster_logs_it(
    cluster: LocalCluster, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = connect(server, "compared")
    comparison = comparison_of(target, new_run(target))
    write_plots(tmp_path / "here", comparison.drawing)
    monkeypatch.delattr(parent_run, "write_plots")
    with closing(cluster.pool()) as pool:
        log_comparison(pool, comparison)
    assert contents(logged(target, comparison.run_id, tmp_path) / "plots") == contents(tmp_path / "here") != {}
    # Not asked to end it.
    assert MlflowClient(server).get_run(comparison.run_id).info.status == "RUNNING"


def test_cold_pool_leaves_it_to_this_process(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process would import everything first."""
    pool = warm_pool(1)
    monkeypatch.setattr(type(pool), "warm", False)
    monkeypatch.delattr(type(pool), "map")
    run_id = new_run(plan.destination)
    log_comparison(pool, comparison_of(plan.destination, run_id))
    files = logged(plan.destination, run_id, tmp_path / "there")
    assert {path.name for path in files.iterdir()} == {"plots", "t.csv", "config.yaml"}


def test_refusal_comes_back(plan: Plan) -> None:
    with pytest.raises(TrackingError, match=r"tracking failed: .*not found"):
        log_comparison(warm_pool(1), comparison_of(plan.destination, "0" * 32))


def test_death_of_its_process_fails_the_sweep(dataset: Dataset, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep's run says so; the variants' runs are there."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "parallel")
    tasks: Any = importlib.import_module("engine_tasks")
    monkeypatch.setattr(parent_run, "_log_in_task", tasks.die_at_once)
    with pytest.raises(TaskDiedError):
        run_sweep([make_variant({"n_estimators": 3})], dataset, plan, warm_pool(1))
    runs = MlflowClient(plan.destination.uri).search_runs([plan.destination.experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {"sweep": "FAILED", "n_estimators=3": "FINISHED"}


def test_second_attempt_finds_the_run(dataset: Dataset, plan: Plan) -> None:
    """The worker that created it was lost before it could say so."""
    opening = Opening(plan.destination, "its key", "sweep", {"of": "2"}, {"seed": 1}, described_inputs(dataset))
    pool = warm_pool(1)
    first = create_parent(pool, opening)
    assert create_parent(pool, replace(opening, again=True)) == first
    assert create_parent(pool, replace(opening, key="other", again=True)) != first
    log_beginning(pool, opening, first)
    run = MlflowClient(plan.destination.uri).get_run(first)
    assert (run.data.params, run.data.tags["of"]) == ({"seed": "1"}, "2")
    assert run.inputs is not None
    assert len(run.inputs.dataset_inputs) == 2


def test_who_draws_imports_meanwhile() -> None:
    """A process that draws itself imports what that takes while the variants run; others do not."""
    program = """
        import sys, threading
        from trainer.sweeps.parent_run import prepare
        class Engine: warm = sys.argv[1] == "warm"
        prepare(Engine)
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join()
        print("matplotlib" in sys.modules)
    """
    for how, imported in (("warm", "False"), ("cold", "True")):
        command = [sys.executable, "-c", textwrap.dedent(program), how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.stdout.strip() == imported, done.stderr


PROGRAM = """
    import sys
    from trainer.cli.main import main
    try:
        main(sys.argv[2:])
    except SystemExit as end:
        print(end.code, [name for name in sys.argv[1].split(",") if name in sys.modules])
"""


def test_command_imports_nothing_to_draw_with(workdir: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), "matplotlib"]
    arguments = ["sweep", "--grid", "n_estimators=2,3", "--no-register"]
    done = subprocess.run([*command, *arguments], cwd=workdir, capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_run_that_has_ended_stays_so(plan: Plan) -> None:
    """Ctrl-C came after a worker had ended the run, and before it could say so."""

    def run_and_interrupt(end: bool) -> str:
        with suppress(KeyboardInterrupt), plan.destination.open().run("sweep", {}) as parent:
            parent.handed_over = True
            if end:
                log_comparison(warm_pool(1), comparison_of(plan.destination, parent.run_id, end=True))
            raise KeyboardInterrupt
        return str(MlflowClient(plan.destination.uri).get_run(parent.run_id).info.status)

    assert [run_and_interrupt(True), run_and_interrupt(False)] == ["FINISHED", "KILLED"]


def test_refused_beginning_has_its_reason(dataset: Dataset, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise MlflowException("no such thing")

    monkeypatch.setattr(MlflowClient, "log_inputs", refuse)
    with pytest.raises(TrackingError, match="no such thing"):
        run_sweep([make_variant({"n_estimators": 3})], dataset, plan, warm_pool(1))
    monkeypatch.undo()
    (run,) = MlflowClient(plan.destination.uri).search_runs([plan.destination.experiment_id])
    assert run.info.status == "FAILED"
    assert "no such thing" in run.data.tags[FAILURE_TAG]


def test_busy_workers_leave_it_to_this_process(
    cluster: LocalCluster, server: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client's variants have them: a short step would wait for those."""
    destination = connect(server, "busy")
    opening = Opening(destination, "a key", "sweep", {}, {}, described_inputs(dataset))
    with closing(cluster.pool()) as pool:
        assert pool.idle
        monkeypatch.delattr(ActiveRun, "log_inputs")
        # A worker's own is whole.
        log_beginning(pool, opening, create_parent(pool, opening))
        monkeypatch.setattr(type(pool), "idle", False)
        with pytest.raises(AttributeError, match="log_inputs"):
            log_beginning(pool, opening, create_parent(pool, replace(opening, key="another")))


@pytest.mark.parametrize("data", [None, "sessions.csv"])
@pytest.mark.parametrize("command", [("sweep", "--grid", "n_estimators=2,3"), ("train", "--register")])
def test_clusters_client_imports_nothing_heavy(
    cluster: LocalCluster,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: str | None,
    command: tuple[str, ...],
) -> None:
    """The workers have it: they read the data, turn to the server, log the parent run, and register the best model."""
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), "mlflow,matplotlib,sklearn,lightgbm,skops,pandas._libs"]
    arguments = [*command, "--tracking-uri", server, "--cluster", cluster.address]
    if data is not None:
        generate_sessions(600).to_csv(tmp_path / data, index=False)
        arguments += ["--data", str(tmp_path / data), "--target", "purchase"]
    done = subprocess.run([*program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    assert "registered " in done.stdout


@pytest.mark.parametrize("how", [("--stream", "always"), ("--test-size", "0.3")], ids=["in passes", "pattern"])
def test_clusters_client_reads_what_no_worker_does(
    cluster: LocalCluster, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, str]
) -> None:
    """Pandas, which was put off, is there when it is needed."""
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    generate_sessions(600).to_csv(tmp_path / "sessions.csv", index=False)
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), "mlflow,pandas._libs"]
    data = tmp_path / ("sessions.csv" if how[0] == "--stream" else "sess*.csv")
    arguments = ["sweep", "--grid", "n_estimators=2,3", "--data", str(data), "--target", "purchase", *how]
    arguments += ["--tracking-uri", server, "--cluster", cluster.address, "--no-register"]
    done = subprocess.run([*program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines()[-1] == "0 ['pandas._libs']", done.stderr
