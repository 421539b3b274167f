"""The plots of a comparison are drawn in a process of the pool: the command itself imports nothing for it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.parallel.pool import TaskDiedError
from trainer.runs.plan import Plan, TrainResult
from trainer.sweeps import comparison_files
from trainer.sweeps.comparison_files import Drawing, draw, write_plots
from trainer.sweeps.sweep import run_sweep

from ..conftest import warm_pool
from ..parallel.cluster_processes import LocalCluster

pytestmark = pytest.mark.process

VARIANTS = [
    ({"num_leaves": leaves}, TrainResult(f"num_leaves={leaves}", {}, metrics={"validation_average_precision": score}))
    for leaves, score in ((4, 0.5), (8, 0.75))
]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_those_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = Drawing(VARIANTS, "data", "both", "trials")
    write_plots(tmp_path / "here", drawing)
    # What the pool's processes call is theirs.
    monkeypatch.delattr(comparison_files, "write_plots")
    draw(tmp_path / "there", drawing, warm_pool(1))
    assert contents(tmp_path / "there") == contents(tmp_path / "here") != {}


def test_worker_of_a_cluster_draws(cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be on another machine: the files' contents come back."""
    drawing = Drawing(VARIANTS, "data", "light")
    write_plots(tmp_path / "here", drawing)
    monkeypatch.delattr(comparison_files, "write_plots")
    with closing(cluster.pool()) as pool:
        draw(tmp_path / "there", drawing, pool)
    assert contents(tmp_path / "there") == contents(tmp_path / "here") != {}


def test_by_a_cold_pool_they_are_drawn_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process would import everything first."""
    pool = warm_pool(1)
    monkeypatch.setattr(type(pool), "warm", False)
    monkeypatch.delattr(type(pool), "map")
    draw(tmp_path / "plots", Drawing(VARIANTS, "data", "light"), pool)
    assert set(contents(tmp_path / "plots")) == {"parameters.png", "parameters.csv"}


def test_what_cannot_be_written_is_raised(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("in the folder's place")
    with pytest.raises(OSError, match="plots"):
        draw(tmp_path / "plots", Drawing(VARIANTS, "data", "light"), warm_pool(1))


def test_death_in_drawing_fails_the_sweep(dataset: Dataset, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep's run says so; the variants' runs are there."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "parallel")
    tasks: Any = importlib.import_module("engine_tasks")
    monkeypatch.setattr(comparison_files, "_drawn", tasks.die_at_once)
    with pytest.raises(TaskDiedError):
        run_sweep([make_variant({"n_estimators": 3})], dataset, plan, warm_pool(1))
    runs = MlflowClient(plan.destination.uri).search_runs([plan.destination.experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {"sweep": "FAILED", "n_estimators=3": "FINISHED"}


def test_who_draws_imports_meanwhile() -> None:
    """A process that draws itself imports what that takes while the variants run; others do not."""
    program = """
        import sys, threading
        from trainer.sweeps.comparison_files import prepare
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


def test_command_imports_nothing_to_draw_with(workdir: Path) -> None:
    program = """
        import sys
        from trainer.cli.main import main
        try:
            main(["sweep", "--grid", "n_estimators=2,3", "--no-register"])
        except SystemExit as end:
            print(end.code, "matplotlib" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=workdir, capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
