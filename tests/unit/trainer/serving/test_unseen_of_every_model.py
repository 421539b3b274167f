"""Texts that a model has not seen are counted in serving's metrics, whatever the model predicts and whoever fits it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trainer.config.other_estimator import OtherEstimator
from trainer.config.selection_metric import Metric
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.serving.application import Bounds, Serving
from trainer.serving.champion import Champion
from trainer.serving.exposition import Exposition
from trainer.training.fit import fit_variant
from trainer.training.model import save_model

from .test_counts import ask, seen

LINEAR = OtherEstimator("sklearn.linear_model:LogisticRegression", {"max_iter": 200})
RIDGE = OtherEstimator("sklearn.linear_model:Ridge")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "other"),
    [
        ("classes", None),
        ("numbers", None),
        ("dataset", LINEAR),
        ("classes", LINEAR),
        ("numbers", RIDGE),
    ],
    ids=["several classes", "a number", "linear, two classes", "linear, several classes", "linear, a number"],
)
def test_unseen_texts_of_every_model(
    exposition: Exposition,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    data: str,
    other: OtherEstimator | None,
) -> None:
    """Three unknown months in two requests are three; a missing month, and one that is known, are none."""
    dataset: Dataset = request.getfixturevalue(data)
    metric: Metric = "rmse" if dataset.task == "regression" else "log_loss"
    params = make_variant({"n_estimators": 5}).params
    fitted = fit_variant(params, dataset, seed=1, validation_size=0.2, metric=metric, other=other)
    folder = tmp_path / "model"
    save_model(fitted.model, dataset, folder, run_id="0" * 32, model_id="m-" + "0" * 32, location=str(folder))
    champion = Champion(str(folder), "")
    champion.require()
    serving = Serving(champion, 1, Bounds(), counts=(counts := exposition.counts(0)))
    serving._take()
    rows = dataset.test.features.head(4)
    known = rows["month"].dropna().iloc[0]
    for months in (["Brumaire", "Nivôse", None, known], ["Brumaire", known, known, known]):
        table = json.loads(rows.assign(month=months).to_json(orient="split"))
        assert ask(serving, json.dumps({"dataframe_split": table}).encode()) == 200
    counts.look(champion)
    counts.write()
    model = str(champion.uri)
    assert seen(exposition, "rows_total", model=model) == 8
    assert seen(exposition, "unseen_texts_total", model=model, column="month") == 3
