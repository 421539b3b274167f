"""Features with which the score may only rise or only fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from trainer.config.variant import complete_params, make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.runs.cache_key import run_key
from trainer.training.fit import fit_variant
from trainer.training.train_config import TrainConfig
from trainer.util.errors import InputError


def steps(dataset: Dataset, name: str, folds: int) -> np.ndarray:
    """Return how the scores of rows change as one column grows, all else being equal."""
    params = complete_params({"n_estimators": 60})
    fitted = fit_variant(params, dataset, seed=5, validation_size=0.25, folds=folds)
    scores = []
    values = dataset.train.features[name]
    for value in np.linspace(float(values.min()), float(values.max()), 25):
        scores.append(fitted.model.predict_proba(dataset.test.features.assign(**{name: value}))[:, 1])
    return np.diff(np.array(scores), axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [0, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_score_moves_one_way_only(dataset: Dataset, sign: int, folds: int) -> None:
    name = "page_value"
    free = steps(dataset, name, folds)
    assert free.min() < 0 < free.max()
    held = sign * steps(replace(dataset, monotone={name: sign}), name, folds)
    assert held.min() >= 0
    # The other columns are as free as before.
    other = steps(replace(dataset, monotone={name: sign}), "exit_rate", folds)
    assert other.min() < 0 < other.max()


def test_constraint_is_of_the_cache_key(dataset: Dataset) -> None:
    keys = {
        run_key(make_variant({}), replace(dataset, monotone=monotone), TrainConfig())
        for monotone in ({}, {"page_value": 1}, {"page_value": -1}, {"exit_rate": 1})
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"month": 1}, "--monotone takes columns of numbers"),
        ({"nothing": 1}, "has no column 'nothing' (--monotone)"),
        ({"purchase": 1}, "--monotone: 'purchase' is the target"),
    ],
)
def test_column_that_cannot_be_monotone(table: pd.DataFrame, tmp_path: Path, given: dict[str, int], said: str) -> None:
    table.to_csv(tmp_path / "shop.csv", index=False)
    with pytest.raises(InputError) as refused:
        load_data(tmp_path / "shop.csv", target="purchase", monotone=given)
    assert said in str(refused.value)


def test_run_says_what_is_monotone(trainer: Callable[..., Any], workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINER_MONOTONE", "page_value=1, exit_rate=-1")
    answer = trainer("--n-estimators", 3, "--json")
    assert answer.code == 0, answer.err
    run = MlflowClient(f"sqlite:///{workdir}/mlflow.db").get_run(answer.json["run_id"])
    assert run.data.params["monotone"] == "page_value=+1, exit_rate=-1"


@pytest.mark.parametrize("text", ["page_value", "page_value=2", "=1", "page_value=+1,page_value=-1", "page_value=up"])
def test_wrong_sign_is_one_line(trainer: Callable[..., Any], workdir: Path, text: str) -> None:
    answer = trainer("--monotone", text)
    assert answer.code == 2
    assert "write COLUMN=+1 or COLUMN=-1" in answer.error
