"""Models of several classes and of numbers are served without MLflow, and answer as MLflow's own model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.serving.body import Table
from trainer.serving.champion import load
from trainer.serving.tree_model import TreeModel
from trainer.training.fit import fit_variant
from trainer.training.hard_rows import ROWS, hard_rows
from trainer.training.model import save_model

TASKS = ("classes", "numbers")


def keep(dataset: Dataset, folder: Path, **params: Any) -> Path:
    chosen = make_variant({"n_estimators": 8, **params}).params
    fitted = fit_variant(chosen, dataset, seed=1, validation_size=0.2, metric="log_loss" if dataset.classes else "rmse")
    save_model(fitted.model, dataset, folder, run_id="0" * 32, model_id="m-" + "0" * 32, location=str(folder))
    return folder


@pytest.fixture(scope="module")
def models(
    classes: Dataset, numbers: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Dataset]]:
    folder = tmp_path_factory.mktemp("models")
    return {name: (keep(data, folder / name), data) for name, data in zip(TASKS, (classes, numbers), strict=True)}


def scores_of(folder: Path, rows: pd.DataFrame) -> Any:
    model = mlflow.sklearn.load_model(str(folder))
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


@pytest.mark.parametrize("name", TASKS)
def test_hard_rows_are_answered_bit_for_bit(models: dict[str, tuple[Path, Dataset]], name: str) -> None:
    folder, _ = models[name]
    trees = TreeModel.read(folder)
    hard = hard_rows(trees.parts.ranges)
    found, codes = trees.predict(Table(hard, ROWS))
    rows = pd.DataFrame(hard).fillna({"weekend": np.nan})
    expected = np.asarray(scores_of(folder, rows))
    assert found.tobytes() == expected.tobytes()
    answers = mlflow.pyfunc.load_model(str(folder)).predict(rows)
    assert (trees.classes(codes).tolist() if len(codes) else found.tolist()) == answers.tolist()
    # A single row is answered by another function of LightGBM.
    alone = [trees.predict(Table({key: [values[row]] for key, values in hard.items()}, 1))[0] for row in range(ROWS)]
    assert np.concatenate(alone).tobytes() == found.tobytes()


@pytest.mark.parametrize("name", TASKS)
def test_model_is_served_by_its_trees(models: dict[str, tuple[Path, Dataset]], name: str) -> None:
    folder, dataset = models[name]
    served = load(str(folder))
    assert served.trees is not None
    assert served.trees.parts.answers == served.trees.answers_digest()
    rows = dataset.test.features.head(20)
    body = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split"))}).encode()
    content = json.loads(served.trees.answer(body, "application/json", "").body)
    assert content == {"predictions": mlflow.pyfunc.load_model(str(folder)).predict(rows).tolist()}


def test_probabilities_of_each_class(models: dict[str, tuple[Path, Dataset]]) -> None:
    folder, dataset = models["classes"]
    rows = dataset.test.features.head(5)
    request = {"dataframe_split": json.loads(rows.to_json(orient="split")), "params": {"output": "probability"}}
    content = json.loads(TreeModel.read(folder).answer(json.dumps(request).encode(), "application/json", "m").body)
    assert content["classes"] == list(dataset.classes)
    assert content["probabilities"] == scores_of(folder, rows).tolist()
    best = np.argmax(content["probabilities"], axis=1)
    assert content["predictions"] == [dataset.classes[code] for code in best]
    assert content["model_uri"] == "m"


def test_number_has_no_probability(models: dict[str, tuple[Path, Dataset]]) -> None:
    folder, dataset = models["numbers"]
    rows = dataset.test.features.head(1)
    request = {"dataframe_split": json.loads(rows.to_json(orient="split")), "params": {"output": "probability"}}
    reply = TreeModel.read(folder).answer(json.dumps(request).encode(), "application/json", "")
    assert reply.status == 400
    assert "params.output is 'probability'; it must be \"number\"" in json.loads(reply.body)["message"]


@pytest.mark.parametrize(("values", "positive"), [(["good", "bad"], "bad"), ([1, 2], "2"), ([-1, 1], "1")])
def test_original_labels_on_request(tmp_path: Path, table: pd.DataFrame, values: list[Any], positive: str) -> None:
    """Of two classes the answers are 0 and 1, unless the request asks for what the target column had."""
    named = np.where(table["purchase"] == 1, values[1], values[0])
    table.assign(purchase=named).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_data(tmp_path / "t.csv", target="purchase", positive=positive)
    assert list(dataset.classes) == values
    chosen = make_variant({"n_estimators": 5}).params
    model = fit_variant(chosen, dataset, seed=1, validation_size=0.2).model
    folder = tmp_path / "model"
    save_model(model, dataset, folder, run_id="0" * 32, model_id="m-" + "0" * 32, location=str(folder))
    trees = TreeModel.read(folder)
    rows = {"dataframe_split": json.loads(dataset.test.features.head(40).to_json(orient="split"))}

    def ask(**params: Any) -> Any:
        reply = trees.answer(json.dumps({**rows, "params": params}).encode(), "application/json", "")
        return json.loads(reply.body)

    codes = ask()["predictions"]
    assert set(codes) == {0, 1}
    assert ask(labels="original")["predictions"] == [values[code] for code in codes]
    assert "params.labels is 'names'" in ask(labels="names")["message"]
