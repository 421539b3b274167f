"""What a fit says of its validation rows at its end is what the model predicts for them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.config.parameter_table import OBJECTIVES
from trainer.config.selection_metric import DEFAULT_METRIC
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset, Table
from trainer.training.encoding import Encoding
from trainer.training.fit_work import FitWork
from trainer.training.pipeline import FittedPipeline, fit_pipeline
from trainer.training.tasks import training_task
from trainer.training.validation_split import split_validation

SMALL: dict[str, Any] = {"n_estimators": 25, "num_leaves": 8}


def fitted(dataset: Dataset, threads: int = 1, **params: Any) -> tuple[FittedPipeline, Table]:
    fitting, validation = split_validation(dataset, seed=3, validation_size=0.3)
    work = FitWork(complete_params(SMALL, params), dataset, 3, DEFAULT_METRIC)
    return fit_pipeline(work, Encoding(dataset, fitting), validation, threads=threads), validation


def check_scores(dataset: Dataset, threads: int = 1, **params: Any) -> None:
    found, validation = fitted(dataset, threads, **params)
    predicted = training_task(dataset.task, dataset.classes).table_scores(found.pipeline, validation)
    assert found.scores is not None
    assert np.ptp(predicted) > 0
    assert found.scores.dtype == predicted.dtype
    np.testing.assert_array_equal(found.scores, predicted)


@pytest.fixture(scope="module")
def rare(make_table: Callable[..., Dataset]) -> Dataset:
    """Return a table with weights, in which most texts come once or twice: LightGBM has no bin for the rarest."""
    rng = np.random.default_rng(6)
    city = np.minimum(rng.zipf(1.3, 2_000), 1_500)
    table = pd.DataFrame({"city": pd.Series(city).map("city {}".format), "x": rng.normal(size=2_000)})
    table["w"] = np.exp(rng.normal(size=2_000))
    table["y"] = (table["x"] + city % 3 + rng.normal(size=2_000) > 1.5).astype(int)
    return make_table(table, weight="w")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"extra_trees": True},
        {"data_sample_strategy": "goss"},
        {"subsample": 0.5, "subsample_freq": 1, "colsample_bytree": 0.5},
        {"class_weight": "balanced"},
        {"is_unbalance": True},
        {"path_smooth": 1.0, "reg_alpha": 0.5, "learning_rate": 0.7},
        {"cat_smooth": 0.0, "cat_l2": 0.0, "min_data_per_group": 1, "min_child_samples": 1},
        {"max_bin": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("table", ["dataset", "rare"])
def test_kept_scores_are_those_of_the_model(table: str, params: dict[str, Any], request: pytest.FixtureRequest) -> None:
    check_scores(request.getfixturevalue(table), **params)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_kept_scores_of_each_objective(numbers: Dataset, objective: str) -> None:
    check_scores(numbers, objective=objective)


@pytest.mark.parametrize("params", [{}, {"class_weight": "balanced"}], ids=str)
def test_kept_scores_of_several_classes(classes: Dataset, params: dict[str, Any]) -> None:
    check_scores(classes, **params)


def test_kept_scores_with_several_threads(rare: Dataset) -> None:
    check_scores(rare, threads=2)


@pytest.mark.parametrize(
    "params", [{"boosting_type": "dart"}, {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}], ids=str
)
def test_changed_trees_are_asked_again(dataset: Dataset, params: dict[str, Any]) -> None:
    """DART and random forests change what earlier trees have answered: other roundings, at the least."""
    assert fitted(dataset, **params)[0].scores is None


def test_early_stopping_keeps_no_scores(dataset: Dataset) -> None:
    """The model that is kept ends at its best iteration, before the last one."""
    found, _ = fitted(dataset, early_stopping_round=2, n_estimators=200, learning_rate=0.5)
    assert found.scores is None
    assert len(found.loss) < 200
