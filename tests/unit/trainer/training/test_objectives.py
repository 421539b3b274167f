"""What a regression minimises: quantiles, counts and amounts, and the metric that goes with each objective."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.metrics import mean_pinball_loss
from trainer.config.parameter_table import OBJECTIVES
from trainer.config.task import TASKS
from trainer.config.variant import complete_params, param_warnings, selection_metric
from trainer.data.dataset import Dataset
from trainer.serving.champion import load
from trainer.training.fit import fit_variant
from trainer.util.errors import InputError

Trainer = Callable[..., Any]
SMALL: dict[str, Any] = {"n_estimators": 30, "num_leaves": 8}


def fitted(dataset: Dataset, **params: Any) -> Any:
    return fit_variant(complete_params(SMALL, params), dataset, seed=1, validation_size=0.2)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_quantile_has_its_share_below(numbers: Dataset, alpha: float) -> None:
    found = fitted(numbers, objective="quantile", alpha=alpha)
    assert found.test["share_below"] == pytest.approx(alpha, abs=0.12)
    loss = mean_pinball_loss(numbers.test.target, found.scores, alpha=alpha)
    assert found.test["quantile_loss"] == pytest.approx(loss)
    assert found.params["alpha"] == alpha


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective_reaches_lightgbm(numbers: Dataset, objective: str) -> None:
    found = fitted(numbers, objective=objective)
    assert found.effective["objective"] == objective
    assert ("quantile_loss" in found.test) == (objective == "quantile")
    assert np.ptp(found.scores) > 0


@pytest.mark.parametrize(
    ("objectives", "wanted", "metric"),
    [
        ([None], None, "rmse"),
        (["quantile"], None, "quantile_loss"),
        (["huber", "huber"], None, "mae"),
        (["huber", "poisson"], None, "rmse"),
        (["quantile"], "rmse", "rmse"),
    ],
)
def test_metric_goes_with_the_objective(objectives: list[str | None], wanted: str | None, metric: str) -> None:
    params = [complete_params({"objective": one}) for one in objectives]
    assert selection_metric(TASKS["regression"], wanted, params) == metric


def test_quantile_loss_needs_a_quantile() -> None:
    with pytest.raises(InputError, match="it needs --objective quantile"):
        selection_metric(TASKS["regression"], "quantile_loss", [complete_params({"objective": "huber"})])


def test_lost_parameters_are_told() -> None:
    params = complete_params({"objective": "poisson", "alpha": 0.2, "top_rate": 0.3, "drop_rate": 0.2})
    assert param_warnings(params) == [
        "alpha has no effect without objective=quantile or huber",
        "top_rate has no effect without data_sample_strategy=goss",
        "drop_rate has no effect without boosting_type=dart",
    ]
    with pytest.raises(InputError, match="goss draws the rows itself"):
        complete_params({"data_sample_strategy": "goss", "subsample": 0.5, "subsample_freq": 1})


@pytest.mark.process
def test_quantile_goes_the_whole_way(trainer: Trainer, numbers: Dataset, workdir: Path) -> None:
    """Tracked, stopped early by its own loss, repeated by its file, scored and served."""
    data = ("--data", numbers.source, "--target", "y", "--objective", "quantile", "--alpha", "0.8")
    done = trainer("train", *data, "--early-stopping-round", "5", "--json")
    assert done.code == 0, done.err
    run = json.loads(done.out)
    stored = MlflowClient().get_run(run["run_id"]).data
    assert (stored.params["chosen_by"], stored.params["alpha"]) == ("quantile_loss", "0.8")
    assert {"quantile_loss", "validation_quantile_loss", "share_below"} <= set(stored.metrics)
    file = mlflow.artifacts.download_artifacts(run_id=run["run_id"], artifact_path="config.yaml")
    again = trainer("train", "--config", file, "--json")
    assert json.loads(again.out)["metrics"] == run["metrics"]
    assert "quantile loss" in trainer("train", "--config", file).out
    evaluate = ("evaluate", "--model", run["model_uri"], "--data", numbers.source, "--target", "y")
    evaluated = trainer(*evaluate, "--json").json["metrics"]
    assert evaluated == {name: run["metrics"][name] for name in evaluated}
    assert {"quantile_loss", "share_below"} <= set(evaluated)
    assert "share below" in trainer(*evaluate).out
    numbers.test.features.to_csv("new.csv", index=False)
    assert trainer("predict", "--model", run["model_uri"], "--data", "new.csv", "--out", "out.csv").code == 0
    served = load(run["model_uri"])
    assert served.trees is not None
    body = json.dumps({"dataframe_split": json.loads(numbers.test.features.to_json(orient="split"))})
    answer = json.loads(served.trees.answer(body.encode(), "application/json", "").body)
    np.testing.assert_array_equal(answer["predictions"], pd.read_csv("out.csv")["prediction"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--objective", "quantile"), "objective=quantile predicts a number, and the target is binary"),
        (("--objective", "median"), "--objective: 'median' is not allowed; it must be one of none, regression,"),
        (("--alpha", "0"), "--alpha: '0' is not allowed; it must be a number above 0, up to 1"),
    ],
)
def test_wrong_objective_is_one_line(trainer: Trainer, workdir: Path, options: tuple[str, ...], says: str) -> None:
    done = trainer("train", *options)
    assert done.code == 2
    assert says in done.error
