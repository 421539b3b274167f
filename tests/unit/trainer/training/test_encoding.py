"""What variants have in common is encoded once, and a fit computes after each iteration only what is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from trainer.config.selection_metric import Metric
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.training import encoding
from trainer.training.fit import FitResult, fit_variant


def fit(
    dataset: Dataset,
    *callbacks: Callable[[Any], None],
    metric: Metric = "average_precision",
    seed: int = 5,
    folds: int = 0,
    **overrides: Any,
) -> FitResult:
    params = make_variant({"n_estimators": 12, "num_leaves": 8, **overrides}).params
    return fit_variant(
        params, dataset, seed=seed, validation_size=0.25, metric=metric, callbacks=list(callbacks), folds=folds
    )


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call to an encoder was for."""
    rows: list[int] = []
    for name in ("fit_transform", "transform"):
        plain = getattr(ColumnTransformer, name)

        def counted(self: Any, table: Any, *more: Any, _plain: Any = plain, **named: Any) -> Any:
            rows.append(len(table))
            return _plain(self, table, *more, **named)

        monkeypatch.setattr(ColumnTransformer, name, counted)
    return rows


@pytest.fixture
def data(dataset: Dataset) -> Dataset:
    """A data set that nothing was fitted to yet."""
    return replace(dataset)


def test_next_variant_encodes_no_table_again(data: Dataset, encoded: list[int]) -> None:
    fit(data)
    assert sorted(encoded) == sorted([data.test.rows, data.train.rows // 4, data.train.rows - data.train.rows // 4])
    encoded.clear()
    fit(data, num_leaves=5)
    assert encoded == []
    fit(data, seed=6)
    assert len(encoded) == 3


def test_kept_tables_change_no_bit(data: Dataset) -> None:
    fit(data, num_leaves=5)
    kept, alone = fit(data), fit(replace(data))
    assert kept.probability.tobytes() == alone.probability.tobytes()
    assert (kept.loss, kept.threshold, kept.validation, kept.test) == (
        alone.loss,
        alone.threshold,
        alone.validation,
        alone.test,
    )
    texts = [one.pipeline[-1].booster_.model_to_string() for one in (kept, alone)]
    assert texts[0] == texts[1]


def test_scores_are_those_of_the_kept_model(data: Dataset) -> None:
    """The rows that were encoded before are scored as the model scores the table itself."""
    found = fit(data)
    np.testing.assert_array_equal(found.probability, found.model.predict_proba(data.test.features)[:, 1])


def test_large_tables_are_not_kept(data: Dataset, encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "KEPT_VALUES", data.train.rows)
    fit(data)
    first = sorted(encoded)
    encoded.clear()
    fit(data)
    assert sorted(encoded) == first


@pytest.mark.parametrize("metric", ["average_precision", "f1", "log_loss"])
def test_metric_is_computed_where_it_decides(data: Dataset, metric: Metric) -> None:
    """The loss alone is watched unless the fit stops early; the history is the same."""
    seen: list[set[str]] = []

    def watch(state: Any) -> None:
        seen.append({result[1] for result in state.evaluation_result_list})

    plain = fit(data, watch, metric=metric)
    assert set().union(*seen) == {"binary_logloss"}
    seen.clear()
    stopping = fit(data, watch, metric=metric, early_stopping_round=12)
    assert len(set().union(*seen)) == (1 if metric == "log_loss" else 2)
    assert plain.loss == pytest.approx(stopping.loss)


@pytest.mark.parametrize("folds", [0, 2])
def test_metric_is_computed_for_a_callback(data: Dataset, folds: int) -> None:
    """A callback that says that it decides gets the metric, in folds too."""
    seen: set[str] = set()

    class Deciding:
        order = 25
        before_iteration = False
        decides = True

        def __call__(self, state: Any) -> None:
            seen.update(result[1] for result in state.evaluation_result_list)

    fit(data, Deciding(), folds=folds)
    assert seen == {"average_precision", "binary_logloss"}
