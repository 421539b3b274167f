"""A number: metrics beside scikit-learn's own, answers, folds, weights, early stopping and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from trainer.config.selection_metric import merit
from trainer.config.task import REGRESSION
from trainer.config.variant import check_params, make_variant
from trainer.data.dataset import Dataset
from trainer.training.fit import FitResult, fit_variant
from trainer.training.fit_warnings import fit_warnings
from trainer.training.iteration_metrics import merit_of
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.training.train_config import TrainConfig
from trainer.training.validation_split import check_splits, fold_splits
from trainer.util.errors import InputError


def fit(data: Dataset, folds: int = 0, metric: Any = "rmse", **params: Any) -> FitResult:
    chosen = make_variant({"n_estimators": 15, "num_leaves": 8, **params}).params
    return fit_variant(chosen, data, seed=5, validation_size=0.25, folds=folds, metric=metric)


@pytest.fixture(scope="module")
def fitted(numbers: Dataset) -> FitResult:
    return fit(numbers)


def test_metrics_are_those_of_scikit_learn(numbers: Dataset, fitted: FitResult) -> None:
    """To the last digit."""
    true, said = numbers.test.target, fitted.model.predict(numbers.test.features)
    error = said - true
    assert fitted.test == {
        "rmse": sklearn.metrics.root_mean_squared_error(true, said),
        "mae": sklearn.metrics.mean_absolute_error(true, said),
        "r2": sklearn.metrics.r2_score(true, said),
        "absolute_error_p50": sklearn.metrics.median_absolute_error(true, said),
        "absolute_error_p90": np.quantile(np.abs(error), 0.9),
        "error_p05": np.quantile(error, 0.05),
        "error_p50": np.median(error),
        "error_p95": np.quantile(error, 0.95),
    }
    assert tuple(fitted.test) == REGRESSION.metrics


def test_predictions_are_plain_lightgbms(numbers: Dataset, fitted: FitResult) -> None:
    encode, estimate = fitted.pipeline.named_steps.values()
    plain = estimate.booster_.predict(encode.transform(numbers.test.features))
    assert plain.tobytes() == fitted.scores.tobytes() == fitted.model.predict(numbers.test.features).tobytes()
    assert fit(numbers).scores.tobytes() == fitted.scores.tobytes()
    assert np.isnan(fitted.threshold)
    assert fitted.curve == ()


def test_loss_is_the_validation_error(fitted: FitResult) -> None:
    assert len(fitted.loss) == 15
    assert fitted.loss[-1] == pytest.approx(fitted.validation["rmse"])
    assert fitted.loss[0] > fitted.loss[-1]


@pytest.mark.parametrize("metric", REGRESSION.choices)
def test_stops_early_by_what_is_chosen_by(numbers: Dataset, metric: Any) -> None:
    seen: list[float] = []
    # A quantile's loss is that of a quantile.
    objective = "quantile" if metric == "quantile_loss" else None
    stopping = {"n_estimators": 80, "early_stopping_round": 4, "learning_rate": 0.5}
    fitted = fit_variant(
        make_variant({**stopping, "objective": objective}).params,
        numbers,
        seed=5,
        validation_size=0.25,
        metric=metric,
        callbacks=[lambda state: seen.append(merit_of(state, metric))],
    )
    assert fitted.iterations == int(np.argmax(seen)) + 1 < 80
    assert merit(metric, fitted.validation[metric]) == pytest.approx(max(seen))
    assert fitted.loss[fitted.iterations - 1] == pytest.approx(fitted.validation["rmse"])


def test_folds_hold_out_each_row_once(numbers: Dataset) -> None:
    out = np.concatenate([out for _, out in fold_splits(numbers.train, 4, 5)])
    assert sorted(out.tolist()) == list(range(numbers.train.rows))
    fitted = fit(numbers, folds=4)
    assert fitted.validation["rmse"] == np.mean([fold["rmse"] for fold in fitted.folds])
    grouped = replace(numbers.train, group=np.arange(numbers.train.rows) // 10)
    for stay, held in fold_splits(grouped, 3, 5):
        assert not set(grouped.group[stay]) & set(grouped.group[held])  # type: ignore[index]
    with pytest.raises(InputError, match="folds are too many"):
        check_splits(numbers, seed=5, validation_size=0.2, folds=numbers.train.rows + 1)


def test_metrics_are_weighted(numbers: Dataset) -> None:
    weight = np.random.default_rng(1).uniform(0.1, 5, numbers.rows)
    data = replace(
        numbers,
        train=replace(numbers.train, weight=weight[: numbers.train.rows]),
        test=replace(numbers.test, weight=weight[numbers.train.rows :]),
    )
    fitted = fit(data, metric="r2", early_stopping_round=5)
    given = {"sample_weight": data.test.weight}
    true, said = data.test.target, fitted.scores
    assert fitted.test["rmse"] == sklearn.metrics.root_mean_squared_error(true, said, **given)
    assert fitted.test["mae"] == sklearn.metrics.mean_absolute_error(true, said, **given)
    assert fitted.test["r2"] == sklearn.metrics.r2_score(true, said, **given)
    assert fitted.loss[-1] == pytest.approx(fit(data, early_stopping_round=5).loss[len(fitted.loss) - 1])


def test_noise_is_no_better_than_the_mean(make_table: Callable[..., Dataset]) -> None:
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"x": rng.normal(size=400), "z": rng.normal(size=400), "y": rng.normal(size=400)})
    found = fit_warnings(fit(make_table(table), n_estimators=60), make_table(table).train)
    assert "no better than a constant: its validation R2 is -" in found[0]


def test_no_split_predicts_the_same(make_table: Callable[..., Dataset]) -> None:
    rng = np.random.default_rng(5)
    data = make_table(pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)}))
    found = fit_warnings(fit(data, min_child_samples=100), data.train)
    assert "predicts the same for each row: no split was possible" in found[0]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="--threshold: a regression target has no threshold"):
        TrainConfig(threshold_rule=parse_threshold_rule("cost:FP=1,FN=5"), metric="rmse").check(REGRESSION)
    with pytest.raises(InputError, match="--metric: 'f1' is none of a regression target's; it must be one of rmse"):
        REGRESSION.metric("f1")
    for name, value in (("scale_pos_weight", 2.0), ("is_unbalance", True), ("class_weight", "balanced")):
        with pytest.raises(InputError, match=name):
            check_params(make_variant({name: value}).params, "regression")
