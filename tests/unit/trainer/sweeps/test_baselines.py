"""Baselines beside the variants of a sweep: tracked, marked and shown, and never chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from trainer.data.dataset import Dataset
from trainer.runs.plan import TrainResult
from trainer.sweeps.sweep import SweepResult

Trainer = Callable[..., Any]
NAMES = {
    "binary": ["baseline: constant", "baseline: logistic regression"],
    "multiclass": ["baseline: constant", "baseline: logistic regression"],
    "regression": ["baseline: mean", "baseline: ridge regression"],
}


@pytest.mark.process
@pytest.mark.parametrize("task", NAMES)
def test_baselines_are_shown_and_not_chosen(
    trainer: Trainer, workdir: Path, task: str, classes: Dataset, numbers: Dataset
) -> None:
    of_task = {"multiclass": classes, "regression": numbers}.get(task)
    data = () if of_task is None else ("--data", str(of_task.source), "--target", "y")
    # One tree says little: each linear model is better, and is not chosen all the same.
    sweep = ("sweep", *data, "--baselines", "--grid", "n_estimators=1,2", "--learning-rate", "0.001", "--jobs", "2")
    done = trainer(*sweep, "--json")
    assert done.code == 0, done.err
    content = json.loads(done.out)
    variants, baselines = content["variants"][:2], content["variants"][2:]
    assert [one["name"] for one in baselines] == NAMES[task]
    assert [one["baseline"] for one in content["variants"]] == [False, False, True, True]
    assert content["best_run_id"] in {one["run_id"] for one in variants}
    assert f"is no better than {NAMES[task][1]}" in done.err
    client = MlflowClient()
    runs = [client.get_run(one["run_id"]) for one in baselines]
    assert [run.data.tags["trainer.baseline"] for run in runs] == ["true", "true"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {content["run_id"]}
    version = client.get_model_version("purchase_predict", content["registered"]["version"])
    assert version.run_id == content["best_run_id"]
    model = mlflow.pyfunc.load_model(baselines[1]["model_uri"])
    assert len(model.predict(model.input_example)) == len(model.input_example)
    shown = trainer("compare", "--sweep", content["run_id"], "--html", "report.html")
    assert shown.code == 0, shown.err
    assert all(name in shown.out for name in NAMES[task])
    file = mlflow.artifacts.download_artifacts(run_id=content["run_id"], artifact_path="config.yaml")
    options = yaml.safe_load(Path(file).read_text())
    assert options["baselines"] is True
    assert len(options["variants"]) == 2
    again = trainer("sweep", "--config", file, "--jobs", "2", "--json")
    assert [one["reused"] for one in json.loads(again.out)["variants"]] == [True] * 4, again.err


def test_better_variant_brings_no_warning() -> None:
    def result(name: str, score: float, *, baseline: bool = False) -> TrainResult:
        return TrainResult(name, {}, "r", metrics={"validation_average_precision": score}, baseline=baseline)

    done = SweepResult("p", None, (result("a", 0.5), result("b", 0.7), result("line", 0.6, baseline=True)))
    assert (done.best, done.baseline_warning) == (done.results[1], None)
    worse = SweepResult("p", None, (result("a", 0.5), result("line", 0.6, baseline=True)))
    assert worse.best is worse.results[0]
    assert worse.baseline_warning == "the best variant, a, is no better than line by average_precision"
    alone = SweepResult("p", None, (TrainResult("a", {}, error="x"), result("line", 0.6, baseline=True)))
    assert (alone.best, alone.baseline_warning) == (None, None)
    assert np.isfinite(result("a", 0.5).score)
