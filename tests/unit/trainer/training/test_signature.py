"""What a model takes and refuses: in Python by its logged signature, when served by what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.serving.frame_model import frame_model
from trainer.training.fit import fit_variant
from trainer.training.model import save_model
from trainer.training.trained_on import TrainedOn

Change = Callable[[pd.DataFrame], pd.DataFrame]
Ask = Callable[..., tuple[int, str]]

SANE: dict[str, Change] = {
    "decimals": lambda rows: rows,
    "integers": lambda rows: rows.assign(region=np.array([1, 20], dtype="int64")),
    "32-bit integers": lambda rows: rows.assign(region=np.array([1, 20], dtype="int32")),
    "a gap": lambda rows: rows.assign(region=[1.0, np.nan]),
    "only gaps": lambda rows: rows.assign(region=[np.nan, np.nan]),
    "a gap among texts": lambda rows: rows.assign(month=["May", np.nan]),
    "a gap among booleans": lambda rows: rows.assign(weekend=pd.Series([True, np.nan], dtype=object)),
    "another order": lambda rows: rows[rows.columns[::-1]],
    "a further column": lambda rows: rows.assign(further=1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """A small model's files."""
    fitted = fit_variant(make_variant({"n_estimators": 5}).params, dataset, seed=1, validation_size=0.2)
    place = tmp_path_factory.mktemp("signature") / "model"
    save_model(fitted.model, dataset, place, run_id="r", model_id="m", location="nowhere")
    return place


@pytest.fixture(scope="module")
def loaded(folder: Path) -> PyFuncModel:
    """The model as Python code loads it."""
    model_: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
    return model_


@pytest.fixture
def rows(dataset: Dataset) -> pd.DataFrame:
    """Two rows without gaps."""
    return dataset.test.features.dropna().head(2).reset_index(drop=True)


@pytest.fixture(scope="module")
def ask(folder: Path) -> Ask:
    """Return a function that asks the model as it is served without its trees: status and text."""
    served = frame_model(mlflow.pyfunc.load_model(str(folder)))
    assert served is not None

    def answer(body: str, kind: str = "application/json") -> tuple[int, str]:
        reply = served.answer(body.encode(), kind, "")
        return reply.status, reply.body.decode()

    return answer


def as_json(rows: pd.DataFrame) -> str:
    return f'{{"dataframe_split": {rows.to_json(orient="split")}}}'


def probability(loaded: PyFuncModel, rows: pd.DataFrame) -> Any:
    return loaded.get_raw_model().predict_proba(rows)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", SANE)
def test_python_takes_sane_rows(loaded: PyFuncModel, rows: pd.DataFrame, name: str) -> None:
    assert set(loaded.predict(SANE[name](rows))) <= {0, 1}


def test_integers_are_the_same_numbers_in_python(loaded: PyFuncModel, rows: pd.DataFrame) -> None:
    whole = rows.assign(region=[1.0, 20.0])
    assert np.array_equal(probability(loaded, whole), probability(loaded, whole.astype({"region": "int64"})))


@pytest.mark.parametrize("name", SANE)
def test_server_takes_sane_rows(loaded: PyFuncModel, rows: pd.DataFrame, ask: Ask, name: str) -> None:
    changed = SANE[name](rows)
    expected = {"predictions": np.asarray(loaded.predict(changed)).tolist()}
    status, text = ask(as_json(changed))
    assert (status, json.loads(text)) == (200, expected)


def test_null_is_a_number_in_a_single_row(rows: pd.DataFrame, ask: Ask) -> None:
    """Server takes null for a number in a single row."""
    status, text = ask(json.dumps({"dataframe_records": [json.loads(rows.loc[0].to_json()) | {"region": None}]}))
    assert status == 200, text


def test_server_takes_csv(loaded: PyFuncModel, rows: pd.DataFrame, ask: Ask) -> None:
    status, text = ask(rows.to_csv(index=False), "text/csv")
    assert (status, json.loads(text)["predictions"]) == (200, np.asarray(loaded.predict(rows)).tolist())


def test_missing_column_is_named(loaded: PyFuncModel, rows: pd.DataFrame, ask: Ask) -> None:
    short = rows.drop(columns="region")
    with pytest.raises(MlflowException, match="region"):
        loaded.predict(short)
    status, text = ask(as_json(short))
    assert status == 400
    assert "region" in text


def test_text_among_numbers_is_refused(loaded: PyFuncModel, rows: pd.DataFrame, ask: Ask) -> None:
    """Text in a column of numbers is refused and named."""
    wrong = rows.assign(region=["north", "south"])
    with pytest.raises(ValueError, match="region"):
        loaded.predict(wrong)
    status, text = ask(as_json(wrong))
    assert status == 400
    assert "column 'region' holds 'north'; the model takes numbers" in text


def test_model_says_what_it_was_trained_on(folder: Path, dataset: Dataset) -> None:
    """Its columns too, in their order: digests depend on it."""
    read = TrainedOn.read(folder, Model.load(str(folder)).metadata)
    assert read is not None
    assert read.is_of(dataset)
    assert (read.seed, read.test_size) == (dataset.seed, dataset.test_size)
    assert list(read.column_types.items()) == list(dataset.column_types.items())
    assert list(read.column_types) != sorted(read.column_types)
    assert read.rows is not None
    assert len(read.rows.hashes) == dataset.train.rows
