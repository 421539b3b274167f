"""Evaluating a model on labelled data: its run's metrics on the data of its training, and no row that it has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from trainer.data.sources import load_data
from trainer.scoring.evaluate import EvaluateRequest, evaluate_model
from trainer.util.errors import InputError

from .scoring_files import Saved, save


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame) -> Path:
    """Return the folder of a table, and of a model of another split than the default one."""
    folder = tmp_path_factory.mktemp("evaluate")
    table.to_csv(folder / "shop.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def model(shop: Path) -> Saved:
    """Return the model."""
    return save(load_data(shop / "shop.csv", target="purchase", seed=7, test_size=0.3), shop / "model")


def evaluated(model: Saved, data: Path, **more: Any) -> Any:
    return evaluate_model(EvaluateRequest(str(model.folder), data, "purchase", **more))


def test_training_data_gives_the_logged_metrics(model: Saved, shop: Path) -> None:
    """Data of the training gives the logged metrics."""
    done = evaluated(model, shop / "shop.csv")
    assert done.metrics == pytest.approx(model.fitted.test)
    assert (done.rows, done.rows_left_out) == (model.dataset.test.rows, model.dataset.train.rows)
    assert done.threshold == model.fitted.threshold


def test_training_rows_are_left_out_of_other_data(
    model: Saved, shop: Path, tmp_path: Path, table: pd.DataFrame
) -> None:
    """Shuffled, the file is other data, of which the same rows are new to the model."""
    table.sample(frac=1, random_state=2).to_csv(tmp_path / "other.csv", index=False)
    done = evaluated(model, tmp_path / "other.csv")
    assert done.metrics == pytest.approx(model.fitted.test)
    everything = evaluated(model, tmp_path / "other.csv", all_rows=True)
    assert everything.rows == len(table)
    assert everything.rows_left_out == 0
    assert everything.metrics["average_precision"] > done.metrics["average_precision"]


def test_data_without_a_new_row_is_refused(model: Saved, tmp_path: Path) -> None:
    seen = model.dataset.train
    seen.features.assign(purchase=seen.target).to_parquet(tmp_path / "seen.parquet")
    with pytest.raises(InputError, match=r"only 0 unseen rows.*--all takes all rows"):
        evaluated(model, tmp_path / "seen.parquet")


def test_data_that_lacks_a_column_is_refused(model: Saved, tmp_path: Path, table: pd.DataFrame) -> None:
    table.drop(columns="month").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(InputError, match="lacks columns that the model takes: month"):
        evaluated(model, tmp_path / "less.csv")


def test_positive_value_of_the_training_holds(tmp_path: Path, table: pd.DataFrame) -> None:
    """It need not be named again: the model keeps it."""
    named = table.assign(purchase=table["purchase"].map({0: "stays", 1: "buys"}))
    named.to_csv(tmp_path / "named.csv", index=False)
    model = save(load_data(tmp_path / "named.csv", target="purchase", positive="buys"), tmp_path / "model")
    assert evaluated(model, tmp_path / "named.csv").metrics == pytest.approx(model.fitted.test)


def test_command_prints_the_metrics(model: Saved, shop: Path, trainer: Callable[..., Any]) -> None:
    command = ("evaluate", "--model", model.folder, "--data", shop / "shop.csv", "--target", "purchase")
    shown = trainer(*command)
    assert shown.code == 0, shown.err
    assert "shop: 180 rows (420 that it was trained on are left out)" in shown.out
    assert f"AP         {model.fitted.test['average_precision']:.4f}" in shown.out
    assert trainer(*command, "--json").json["metrics"] == pytest.approx(model.fitted.test)
    assert "no such model" in trainer("evaluate", "--model", "gone", "--data", shop / "shop.csv").error
