"""A column without a value in training may hold anything in a request: the answer does not depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from trainer.config.variant import make_variant
from trainer.data.sources import load_data
from trainer.serving.champion import load
from trainer.serving.frame_model import frame_model
from trainer.training.fit import fit_variant
from trainer.training.model import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of a number and of an empty column."""
    place = tmp_path_factory.mktemp("empty")
    numbers = np.random.default_rng(1).normal(size=300)
    pd.DataFrame({"x": numbers, "promo": [None] * 300, "y": (numbers > 0).astype(int)}).to_csv(
        place / "t.csv", index=False
    )
    dataset = load_data(place / "t.csv", target="y")
    fitted = fit_variant(make_variant({"n_estimators": 5}).params, dataset, seed=1, validation_size=0.2)
    save_model(fitted.model, dataset, place / "model", run_id="0" * 32, model_id="m-1", location="nowhere")
    return place / "model"


@pytest.mark.parametrize("way", ["trees", "frames"])
def test_whatever_a_request_fills_it_with(folder: Path, way: str) -> None:
    model = load(str(folder)).trees if way == "trees" else frame_model(mlflow.pyfunc.load_model(str(folder)))
    assert model is not None, "each of the trainer's models is answered in either way"

    def answer(body: Any, kind: str = "application/json") -> tuple[int, Any]:
        content = body if isinstance(body, str) else json.dumps(body)
        reply = model.answer(content.encode(), kind, "uri")
        return reply.status, json.loads(reply.body)

    for x in (2.0, -2.0):
        expected = answer({"dataframe_records": [{"x": x, "promo": None}]})
        assert expected == (200, {"predictions": [int(x > 0)]})
        for value in (5, "SUMMER", True, "2026-05-01", ""):
            assert answer({"dataframe_records": [{"x": x, "promo": value}]}) == expected
            assert answer({"inputs": {"x": [x], "promo": [value]}}) == expected
            assert answer(f"promo,x\n{value},{x}\n", "text/csv") == expected


@pytest.mark.parametrize("mix", ["number", "number word", "number flag", "word", "flag", "word flag empty number"])
def test_any_mix_of_columns_answers_by_itself(tmp_path: Path, mix: str) -> None:
    """Model of any mix of columns answers by itself."""
    numbers = np.random.default_rng(1).normal(size=300)
    table = pd.DataFrame(
        {"word": np.where(numbers > 0.2, "a", "b"), "flag": numbers > 0.1, "empty": [None] * 300, "number": numbers}
    )
    table[mix.split()].assign(y=(numbers > 0).astype(int)).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_data(tmp_path / "t.csv", target="y")
    fitted = fit_variant(make_variant({"n_estimators": 5}).params, dataset, seed=1, validation_size=0.2)
    save_model(fitted.model, dataset, tmp_path / "m", run_id="0" * 32, model_id="m-1", location="nowhere")
    served = load(str(tmp_path / "m"))
    assert served.trees is not None, served
    rows = dataset.test.features.head(5)
    body = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split"))})
    answer = json.loads(served.trees.answer(body.encode(), "application/json", "uri").body)
    assert answer["predictions"] == fitted.model.predict(rows).tolist()
