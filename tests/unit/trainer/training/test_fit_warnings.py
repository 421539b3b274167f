"""A model that is no better than a constant, or that learnt too long, says so, in the terminal and in its run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.metrics import mean_pinball_loss
from trainer.config.other_estimator import parse_other_estimator
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.training.fit import fit_variant
from trainer.training.fit_warnings import fit_warnings


def warnings_of(dataset: Dataset, **params: Any) -> tuple[str, ...]:
    fitted = fit_variant(make_variant(params).params, dataset, seed=1, validation_size=0.3)
    return fit_warnings(fitted, dataset.train)


def noise(path: Path, rows: int, share: float) -> Path:
    """Write a table whose features say nothing of its target."""
    rng = np.random.default_rng(5)
    target = (rng.random(rows) < share).astype(int)
    pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "y": target}).to_csv(path, index=False)
    return path


def test_model_that_fits_is_not_warned_of(dataset: Dataset) -> None:
    assert warnings_of(dataset, n_estimators=20, num_leaves=6) == ()


def test_model_of_noise_is_no_better_than_a_constant(tmp_path: Path) -> None:
    """The threshold with the highest F1 calls every row positive."""
    dataset = load_data(noise(tmp_path / "t.csv", 600, 0.7), target="y")
    found = warnings_of(dataset, n_estimators=60)
    assert "no better than a constant: its validation F1 is" in found[0] or "calls every test row positive" in found[0]


def test_model_without_a_split(tmp_path: Path) -> None:
    dataset = load_data(noise(tmp_path / "t.csv", 60, 0.5), target="y")
    found = warnings_of(dataset, min_child_samples=100)
    assert "the same probability: no split was possible" in found[0]
    assert not any("early stopping" in warning for warning in found)


def test_other_estimator_of_noise(tmp_path: Path) -> None:
    """Another estimator than LightGBM's is held against a constant, too."""
    dataset = load_data(noise(tmp_path / "t.csv", 600, 0.9), target="y")
    for path, words in (
        ("sklearn.linear_model:LogisticRegression", "no better than a constant|calls every test row positive"),
        ("sklearn.dummy:DummyClassifier", "the model gives each row the same answer"),
    ):
        other = parse_other_estimator(path, None)
        fitted = fit_variant(make_variant({}).params, dataset, seed=1, validation_size=0.3, other=other)
        (found,) = fit_warnings(fitted, dataset.train)
        assert re.search(words, found)


@pytest.mark.parametrize(("objective", "told"), [("regression_l1", False), ("regression", True)])
def test_constant_is_that_of_the_objective(tmp_path: Path, objective: str, told: bool) -> None:
    """Amounts with a few that are huge: a median model beats the median, and its R2 says nothing."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=800)
    pd.DataFrame({"x": x, "y": np.exp(3 * rng.normal(size=800) + 2 * x)}).to_csv(tmp_path / "t.csv", index=False)
    found = warnings_of(load_data(tmp_path / "t.csv", target="y"), objective=objective, n_estimators=60)
    assert any("no better than a constant" in warning for warning in found) is told


def test_weights_count_in_the_constant(numbers: Dataset) -> None:
    """The quantile of weighted rows is not that of the rows."""
    params = make_variant({"objective": "quantile", "alpha": 0.5, "n_estimators": 3}).params
    fitted = fit_variant(params, numbers, seed=1, validation_size=0.3)
    fitted = replace(fitted, validation={**fitted.validation, "quantile_loss": 1e9})
    target = numbers.train.target
    weight = np.where(target > np.quantile(target, 0.8), 100.0, 1.0)
    heavy = np.sort(target)[-int(np.sum(weight > 1) * 0.5)]
    loss = mean_pinball_loss(target, np.full(len(target), heavy), alpha=0.5, sample_weight=weight)
    (found,) = [one for one in fit_warnings(fitted, replace(numbers.train, weight=weight)) if "constant" in one]
    assert float(found.rpartition(" ")[2]) == pytest.approx(loss, rel=0.02)


def test_model_that_learnt_too_long(dataset: Dataset) -> None:
    (found,) = warnings_of(dataset, n_estimators=400, learning_rate=0.3)
    assert "over-fitted: the validation loss is lowest after" in found
    assert "--early-stopping-round 20 stops in time" in found


def test_early_stopping_that_leaves_few_iterations(dataset: Dataset) -> None:
    found = warnings_of(dataset, n_estimators=400, learning_rate=1.0, early_stopping_round=3)
    assert any("of 400 iterations: a larger --early-stopping-round" in warning for warning in found)


def test_folds_that_stop_early(dataset: Dataset) -> None:
    """The last model makes as many iterations as they did: few, though all that it was asked for."""
    params = make_variant({"n_estimators": 400, "learning_rate": 1.0, "early_stopping_round": 3}).params
    fitted = fit_variant(params, dataset, seed=1, validation_size=0.3, folds=3)
    assert fitted.iterations < 10
    assert any(f"early stopping left {fitted.iterations} of" in one for one in fit_warnings(fitted, dataset.train))


def test_warnings_are_printed_and_kept_with_the_run(trainer: Callable[..., Any], workdir: Path, tmp_path: Path) -> None:
    path = noise(tmp_path / "t.csv", 600, 0.2)
    command = ("sweep", "--data", path, "--target", "y", "--grid", "n_estimators=150", "--no-register", "--jobs", 1)
    first, again = trainer(*command, "--json"), trainer(*command, "--json")
    (variant,) = first.json["variants"]
    assert any("over-fitted" in warning for warning in variant["warnings"])
    for answer in (first, again):
        assert answer.json["variants"][0]["warnings"] == variant["warnings"]
        for warning in variant["warnings"]:
            assert f"trainer: best, n_estimators=150: {warning}" in answer.err.splitlines()
    run = MlflowClient(f"sqlite:///{workdir}/mlflow.db").get_run(variant["run_id"])
    assert run.data.tags["trainer.warnings"].splitlines() == variant["warnings"]
