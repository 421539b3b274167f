"""Sweeps: variants from a file, nested runs, independence of the number of jobs, failures."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.config.parameter import Value
from trainer.config.variant import Variant, complete_params, make_variant
from trainer.data.dataset import Dataset
from trainer.parallel import pool
from trainer.parallel.forked_call import ForkedCall, call_in_fork
from trainer.parallel.pool import TaskDiedError
from trainer.runs.plan import Plan
from trainer.runs.train import fit_planned
from trainer.sweeps import sweep
from trainer.sweeps.sweep import run_sweep

from ..conftest import warm_pool

BASE: dict[str, Value] = {"num_leaves": 6, "n_estimators": 8}


def variants(*overrides: dict[str, Any]) -> list[Variant]:
    return [make_variant(some, BASE) for some in overrides]


# Runs -----------------------------------------------------------------------------------------------------------------


def test_sweep_is_a_parent_with_nested_children(dataset: Dataset, plan: Plan) -> None:
    seen: list[int] = []
    done = run_sweep(
        variants({}, {"learning_rate": 0.3}, {"learning_rate": 0.01}),
        dataset,
        plan,
        warm_pool(2),
        on_result=lambda _result, count: seen.append(count),
    )
    client = MlflowClient(plan.destination.uri)
    runs = {run.info.run_id: run for run in client.search_runs([plan.destination.experiment_id])}
    parent = runs.pop(done.run_id)
    assert seen == [1, 2, 3]
    assert [result.run_id for result in done.results] == [
        next(run_id for run_id, run in runs.items() if run.info.run_name == name)
        for name in ("baseline", "learning_rate=0.3", "learning_rate=0.01")
    ]
    assert all(run.data.tags["mlflow.parentRunId"] == done.run_id for run in runs.values())
    assert {run.info.status for run in [parent, *runs.values()]} == {"FINISHED"}
    best = max(runs.values(), key=lambda run: run.data.metrics["validation_average_precision"])
    assert done.best is not None
    assert done.best.run_id == best.info.run_id == parent.data.tags["trainer.best_run_id"]
    assert parent.data.metrics["f1"] == best.data.metrics["f1"]
    assert parent.data.params["num_leaves"] == "6"
    assert parent.data.params["random_state"] == str(plan.config.seed)
    assert "learning_rate" not in parent.data.params
    pictures = {file.path for file in client.list_artifacts(done.run_id, "plots")}
    assert pictures == {f"plots/{name}.{kind}" for name in ("pr_curves", "parameters") for kind in ("png", "csv")}
    with Path(client.download_artifacts(done.run_id, "variants.csv")).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["run_id"] for row in rows] == [result.run_id for result in done.results]
    assert [row["learning_rate"] for row in rows] == ["", "0.3", "0.01"]
    assert float(rows[1]["f1"]) == runs[rows[1]["run_id"]].data.metrics["f1"]


def test_results_do_not_depend_on_the_number_of_jobs(dataset: Dataset, plan: Plan) -> None:
    chosen = variants({}, {"learning_rate": 0.3}, {"colsample_bytree": 0.5})
    one, two = (run_sweep(chosen, dataset, plan, warm_pool(jobs)) for jobs in (1, 2))
    assert [result.metrics for result in one.results] == [result.metrics for result in two.results]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_begun_fit_is_taken_over(dataset: Dataset, plan: Plan) -> None:
    chosen = variants({}, {"learning_rate": 0.3})
    fit = partial(fit_planned, chosen[1], dataset, plan.config)
    with call_in_fork(fit) as running:
        begun = run_sweep(chosen, dataset, plan, warm_pool(1), begun={1: running})
        with pytest.raises(TaskDiedError):
            running.result()
    other = run_sweep(chosen, dataset, plan, warm_pool(1))
    assert [result.metrics for result in begun.results] == [result.metrics for result in other.results]


def test_fit_that_never_began_is_made(dataset: Dataset, plan: Plan) -> None:
    done = run_sweep(variants({}), dataset, plan, warm_pool(1), begun={0: ForkedCall("nowhere")})
    assert done.results[0].error is None


def test_many_processes_may_write_to_one_sqlite_file(dataset: Dataset, plan: Plan) -> None:
    done = run_sweep(variants(*({"learning_rate": n / 100} for n in range(1, 9))), dataset, plan, warm_pool(8))
    assert len({result.run_id for result in done.results}) == 8


def test_failed_variant_lets_others_finish(dataset: Dataset, plan: Plan) -> None:
    """Failed variant is reported and the others finish."""
    broken = Variant("broken", {**complete_params(BASE), "max_bin": -7}, {"max_bin": -7})
    with pytest.raises(sweep.SweepFailedError) as error:
        run_sweep([broken, *variants({}, {"learning_rate": 0.3})], dataset, plan, warm_pool(2))
    assert "1 of 3 variants failed; broken: LightGBM refuses" in str(error.value)
    done = error.value.result
    assert [result.error is None for result in done.results] == [False, True, True]
    client = MlflowClient(plan.destination.uri)
    status = {run.info.run_name: run.info.status for run in client.search_runs([plan.destination.experiment_id])}
    assert status == {"broken": "FAILED", "baseline": "FINISHED", "learning_rate=0.3": "FINISHED", "sweep": "FAILED"}
    parent = client.get_run(done.run_id)
    assert "broken" in parent.data.tags["failure_reason"]
    assert parent.data.metrics["f1"] == done.best.metrics["f1"]  # type: ignore[union-attr]
    table = Path(client.download_artifacts(done.run_id, "variants.csv")).read_text()
    assert "broken" in table
    assert "FAILED" in table


def test_runs_of_killed_processes_are_ended(dataset: Dataset, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of processes that do not tidy up are ended all the same."""
    monkeypatch.setattr(pool, "GRACE", 0.0)
    client = MlflowClient(plan.destination.uri)

    def interrupt() -> None:
        while len(client.search_runs([plan.destination.experiment_id], "attributes.run_name LIKE 'endless%'")) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    endless = [make_variant({"n_estimators": 99_999 - n}, BASE, name=f"endless {n}") for n in range(2)]
    with pytest.raises(KeyboardInterrupt):
        run_sweep(endless, dataset, plan, warm_pool(2))
    found = client.search_runs([plan.destination.experiment_id])
    assert [run.info.status for run in found] == ["KILLED"] * 3


def test_variant_whose_process_dies_is_marked_failed(dataset: Dataset, plan: Plan) -> None:
    client = MlflowClient(plan.destination.uri)

    def kill() -> None:
        while not client.search_runs([plan.destination.experiment_id], "attributes.run_name = 'doomed'"):
            time.sleep(0.05)
        for child in multiprocessing.active_children():
            child.kill()

    threading.Thread(target=kill, daemon=True).start()
    doomed = make_variant({"n_estimators": 99_999}, BASE, name="doomed")
    with pytest.raises(sweep.SweepFailedError, match="1 of 2 variants failed; doomed: its process died"):
        run_sweep([doomed, *variants({})], dataset, plan, warm_pool(1))
    found = {run.info.run_name: run for run in client.search_runs([plan.destination.experiment_id])}
    assert {name: run.info.status for name, run in found.items()} == {
        "doomed": "FAILED",
        "baseline": "FINISHED",
        "sweep": "FAILED",
    }
    assert "process died" in found["doomed"].data.tags["failure_reason"]
