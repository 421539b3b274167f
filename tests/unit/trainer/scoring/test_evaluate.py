"""Evaluating a model on labelled data: its run's metrics on the data of its training, and no row that it has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


def test_split_is_that_of_the_run(tmp_path: Path, table: pd.DataFrame) -> None:
    """Rows that come twice are on both sides of a split, and tell nothing: the run's seed and size say which count."""
    pd.concat([table, table]).to_csv(tmp_path / "twice.csv", index=False)
    model = save(load_data(tmp_path / "twice.csv", target="purchase", seed=7, test_size=0.3), tmp_path / "model")
    done = evaluated(model, tmp_path / "twice.csv")
    assert done.rows == model.dataset.test.rows
    assert done.metrics == pytest.approx(model.fitted.test)


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


def tagged(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with weights, times and groups."""
    rng = np.random.default_rng(8)
    return table.assign(
        w=rng.uniform(0.5, 4, len(table)),
        day=[str(pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(day))) for day in rng.integers(0, 300, len(table))],
        visitor=[f"v{number}" for number in rng.integers(0, 150, len(table))],
    )


@pytest.mark.parametrize("roles", [{"weight": "w"}, {"time": "day", "weight": "w"}, {"group": "visitor"}])
def test_split_and_weights_are_those_of_the_run(roles: dict[str, Any], tmp_path: Path, table: pd.DataFrame) -> None:
    """Of the data of its training, a model has the metrics of its run, however that was split and weighted."""
    data = tmp_path / "shop.csv"
    tagged(table).to_csv(data, index=False)
    model = save(load_data(data, target="purchase", seed=7, test_size=0.3, drop=unused(roles), **roles), tmp_path / "m")
    done = evaluated(model, data)
    assert done.metrics == pytest.approx(model.fitted.test)
    assert done.rows == model.dataset.test.rows


def unused(roles: dict[str, str]) -> list[str]:
    return [name for name in ("w", "day", "visitor") if name not in roles.values()]


@pytest.mark.slow
def test_new_rows_of_a_known_group_are_left_out(tmp_path: Path, table: pd.DataFrame) -> None:
    """Other rows of a visitor whose rows a model was trained on tell nothing of visitors that it does not know."""
    grouped = tagged(table).drop(columns=["w", "day"])
    grouped.to_csv(tmp_path / "shop.csv", index=False)
    model = save(load_data(tmp_path / "shop.csv", target="purchase", group="visitor"), tmp_path / "model")
    number = next(name for name, kind in model.dataset.column_types.items() if kind == "number")
    later = grouped.assign(**{number: grouped[number] + 1_000})
    later.to_csv(tmp_path / "later.csv", index=False)
    done = evaluated(model, tmp_path / "later.csv")
    assert done.rows == model.dataset.test.rows
    assert evaluated(model, tmp_path / "later.csv", all_rows=True).rows == len(table)


def test_data_without_the_column_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    """A weighted model cannot be judged, or compared, without weights."""
    tagged(table).to_csv(tmp_path / "shop.csv", index=False)
    model = save(load_data(tmp_path / "shop.csv", target="purchase", weight="w"), tmp_path / "model")
    tagged(table).drop(columns="w").to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(InputError, match=r"has no column 'w' \(the model was trained with --weight w\)"):
        evaluated(model, tmp_path / "other.csv")


@pytest.mark.parametrize(("role", "value"), [("time", "2025-02-01"), ("group", "visitor")])
def test_new_data_of_one_time_or_group(tmp_path: Path, table: pd.DataFrame, role: str, value: str) -> None:
    """It cannot be split as the training data was, and need not be."""
    column = "day" if role == "time" else "visitor"
    given = tagged(table)[[*table.columns, column]]
    given.to_csv(tmp_path / "shop.csv", index=False)
    roles: dict[str, Any] = {role: column}
    model = save(load_data(tmp_path / "shop.csv", target="purchase", **roles), tmp_path / "model")
    number = next(name for name, kind in model.dataset.column_types.items() if kind == "number")
    changed: dict[str, Any] = {column: value, number: given[number] + 1_000}
    given.assign(**changed).to_csv(tmp_path / "new.csv", index=False)
    assert evaluated(model, tmp_path / "new.csv").rows == len(table)


def test_training_rows_of_another_format_are_known(tmp_path: Path, table: pd.DataFrame) -> None:
    """Trained on a Parquet file in single precision, and evaluated on the same rows in a CSV file."""
    numbers = table.select_dtypes("float64").columns
    halved = table.astype(dict.fromkeys(numbers, np.float32))
    halved.to_parquet(tmp_path / "shop.parquet")
    halved.to_csv(tmp_path / "shop.csv", index=False)
    model = save(load_data(tmp_path / "shop.parquet", target="purchase"), tmp_path / "model")
    done = evaluated(model, tmp_path / "shop.csv")
    assert done.rows == model.dataset.test.rows
    assert done.metrics == pytest.approx(model.fitted.test, rel=0.05)


def test_few_rows_can_be_evaluated(model: Saved, tmp_path: Path, table: pd.DataFrame) -> None:
    """They are not split: --all takes two rows as well, and without it the message says what is lacking."""
    few = table.groupby("purchase").head(1)
    few.to_csv(tmp_path / "few.csv", index=False)
    assert evaluated(model, tmp_path / "few.csv", all_rows=True).rows == 2
    with pytest.raises(
        InputError, match=r"unseen rows, \d of class .; at least 10 of each class .*--all takes all rows"
    ):
        evaluated(model, tmp_path / "few.csv")
