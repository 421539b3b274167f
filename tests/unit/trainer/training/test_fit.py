"""Fitting: determinism, categories, threshold, and what the model remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from trainer.config import parameter_table
from trainer.config.parameter import Value
from trainer.config.selection_metric import METRICS, Metric, merit
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset, Table
from trainer.data.sources import load_data
from trainer.training.fit import FitResult, fit_variant
from trainer.training.iteration_metrics import merit_of
from trainer.training.validation_split import split_validation
from trainer.util.errors import TrainerError

SMALL: dict[str, Value] = {"n_estimators": 12, "num_leaves": 8}


def fit_small(dataset: Dataset, seed: int = 5, metric: Metric = "average_precision", **overrides: Value) -> FitResult:
    variant = make_variant({**SMALL, **overrides})
    return fit_variant(variant.params, dataset, seed=seed, validation_size=0.25, metric=metric)


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FitResult:
    return fit_small(dataset)


def test_same_fit_gives_the_same_bits(dataset: Dataset, fitted: FitResult) -> None:
    again = fit_small(dataset)
    assert again.probability.tobytes() == fitted.probability.tobytes()
    assert (again.loss, again.threshold, again.test) == (fitted.loss, fitted.threshold, fitted.test)


def test_other_seed_gives_another_fit(dataset: Dataset, fitted: FitResult) -> None:
    assert fit_small(dataset, seed=6).loss != fitted.loss


def test_loss_history_is_the_validation_log_loss(dataset: Dataset, fitted: FitResult) -> None:
    assert len(fitted.loss) == fitted.iterations == 12
    assert fitted.loss[-1] == pytest.approx(fitted.validation["log_loss"])
    assert fitted.loss[0] > fitted.loss[-1]
    # Seen from outside: the same rows, scored by the model, cut off after the third tree.
    _, held_out = split_validation(dataset, seed=5, validation_size=0.25)
    pipeline = fitted.model.estimator_.estimator
    encoded = pipeline[:-1].transform(held_out.features)
    third = pipeline[-1].predict_proba(encoded, num_iteration=3)[:, 1]
    assert fitted.loss[2] == pytest.approx(sklearn.metrics.log_loss(held_out.target, third))


def test_threshold_comes_from_validation_rows(dataset: Dataset, fitted: FitResult) -> None:
    """Threshold comes from the validation rows and rules predictions."""
    _, held_out = split_validation(dataset, seed=5, validation_size=0.25)
    scores = fitted.model.predict_proba(held_out.features)[:, 1]
    best = max(np.unique(scores), key=lambda t: (sklearn.metrics.f1_score(held_out.target, scores >= t), t))
    assert fitted.threshold == best
    assert fitted.threshold != 0.5
    classes = fitted.model.predict(dataset.test.features)
    np.testing.assert_array_equal(classes, (fitted.probability >= fitted.threshold).astype(int))
    assert fitted.test["f1"] == pytest.approx(sklearn.metrics.f1_score(dataset.test.target, classes))


def test_test_rows_have_no_part_in_the_fit(dataset: Dataset, fitted: FitResult) -> None:
    flipped = replace(dataset, test=Table(dataset.test.features, 1 - dataset.test.target))
    other = fit_small(flipped)
    assert (other.loss, other.threshold, other.validation) == (fitted.loss, fitted.threshold, fitted.validation)
    assert other.test != fitted.test


def test_texts_and_booleans_are_categories(dataset: Dataset, fitted: FitResult) -> None:
    """Texts and booleans are LightGBM categories."""
    booster = fitted.model.estimator_.estimator[-1].booster_
    names = dataset.columns("text") + dataset.columns("boolean")
    described = booster.dump_model()["feature_infos"]
    assert all(described[name]["values"] for name in names)
    assert not any(described[name]["values"] for name in dataset.columns("number") if name in described)


def test_category_means_the_same_everywhere(dataset: Dataset, fitted: FitResult) -> None:
    """Category means the same in train test and later."""
    # A table in which the categories come in another order, and only some of them.
    later = dataset.test.features.sort_values("month", ascending=False).reset_index()
    index, later = later.pop("index").to_numpy(), later
    np.testing.assert_array_equal(fitted.model.predict_proba(later)[:, 1], fitted.probability[index])
    november = later[later["month"] == "Nov"]
    kept = index[(later["month"] == "Nov").to_numpy()]
    np.testing.assert_array_equal(fitted.model.predict_proba(november)[:, 1], fitted.probability[kept])


def test_unseen_and_missing_categories_score_alike(dataset: Dataset, fitted: FitResult) -> None:
    unseen, missing = dataset.test.features.copy(), dataset.test.features.copy()
    unseen["month"], missing["month"] = "Smarch", None
    scores = fitted.model.predict_proba(unseen)
    np.testing.assert_array_equal(scores, fitted.model.predict_proba(missing))
    assert np.isfinite(scores).all()


def test_constant_boolean_knows_its_opposite(dataset: Dataset) -> None:
    """Boolean that never varied still knows its opposite."""
    features = dataset.train.features.assign(weekend=True)
    fitted = fit_small(replace(dataset, train=Table(features, dataset.train.target)))
    encoded = fitted.model.estimator_.estimator[0].transform(dataset.test.features)
    assert set(encoded["weekend"]) == {0.0, 1.0}


def test_gappy_booleans_and_odd_names_can_be_fitted(tmp_path: Path, table: pd.DataFrame) -> None:
    odd = table.rename(columns={"exit_rate": 'exit [%], "of" {all}:x', "bounce_rate": "exit _%__ _of_ _all__x"})
    odd["weekend"] = odd["weekend"].astype("boolean").where(odd.index % 7 > 0)
    odd["page_value"] = odd["page_value"].where(odd.index % 9 > 0, np.inf)
    odd.to_parquet(tmp_path / "odd.parquet")
    dataset = load_data(tmp_path / "odd.parquet", target="purchase")
    fitted = fit_small(dataset)
    assert len(set(fitted.model.estimator_.estimator[-1].feature_name_)) == len(dataset.column_types)
    assert fitted.test["average_precision"] > 0.4


def test_resolved_parameters_are_those_used(fitted: FitResult) -> None:
    """Resolved and effective parameters are those used."""
    assert fitted.params["n_estimators"] == 12
    assert fitted.params["random_state"] == 5
    assert fitted.params["objective"] == "binary"
    assert set(fitted.params) >= {one.name for one in parameter_table.PARAMETERS if one.default is not None}
    effective = fitted.effective
    assert effective["num_leaves"] == "8"
    assert effective["num_iterations"] == "12"
    assert effective["seed"] == "5"
    assert effective["deterministic"] == effective["force_row_wise"] == effective["num_threads"] == "1"
    assert len(effective) > 80


@pytest.mark.parametrize(
    ("overrides", "name", "value"),
    [
        ({"is_unbalance": True}, "is_unbalance", "1"),
        ({"scale_pos_weight": 4.0}, "scale_pos_weight", "4"),
        ({"boosting_type": "dart"}, "boosting", "dart"),
        ({"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}, "bagging_fraction", "0.5"),
        ({"extra_trees": True}, "extra_trees", "1"),
        ({"max_bin": 31}, "max_bin", "31"),
        ({"random_state": 11}, "seed", "11"),
        ({"path_smooth": 2.0}, "path_smooth", "2"),
    ],
)
def test_parameter_reaches_lightgbm(dataset: Dataset, overrides: dict[str, Any], name: str, value: str) -> None:
    assert fit_small(dataset, **overrides).effective[name] == value


def test_balanced_classes_raise_the_scores(dataset: Dataset, fitted: FitResult) -> None:
    assert fit_small(dataset, class_weight="balanced").probability.mean() > fitted.probability.mean() + 0.05


def test_early_stopping_keeps_the_best_iteration(dataset: Dataset) -> None:
    early: dict[str, Any] = {"n_estimators": 400, "learning_rate": 0.3, "early_stopping_round": 5}
    fitted = fit_small(dataset, metric="log_loss", **early)
    assert fitted.iterations < 100
    assert fitted.iterations == int(np.argmin(fitted.loss)) + 1
    assert fitted.validation["log_loss"] == pytest.approx(min(fitted.loss))


@pytest.mark.parametrize("metric", METRICS)
def test_early_stopping_uses_the_chosen_metric(dataset: Dataset, metric: Metric) -> None:
    """It keeps the iteration at which that metric is best until it has not improved for some."""
    seen: list[float] = []
    params = make_variant({**SMALL, "n_estimators": 200, "learning_rate": 0.3, "early_stopping_round": 9}).params
    fitted = fit_variant(
        params,
        dataset,
        seed=5,
        validation_size=0.25,
        metric=metric,
        callbacks=[lambda state: seen.append(merit_of(state, metric))],
    )
    assert len(seen) < 200
    assert fitted.iterations == int(np.argmax(seen)) + 1
    assert len(seen) == fitted.iterations + 9
    assert merit(metric, fitted.validation[metric]) == pytest.approx(max(seen))


@pytest.mark.parametrize("metric", METRICS)
def test_history_is_the_loss_whatever_is_chosen_by(dataset: Dataset, fitted: FitResult, metric: Metric) -> None:
    other = fit_small(dataset, metric=metric)
    assert other.loss == pytest.approx(fitted.loss)
    assert other.test == fitted.test


def test_what_lightgbm_refuses_is_one_line(dataset: Dataset) -> None:
    variant = make_variant(SMALL)
    with pytest.raises(TrainerError, match="LightGBM refuses"):
        fit_variant({**variant.params, "max_bin": -7}, dataset, seed=1, validation_size=0.2)


def test_real_data_reaches_the_promised_precision(shoppers: Path) -> None:
    dataset = load_data(shoppers, target="Revenue")
    fitted = fit_variant(make_variant({}).params, dataset, seed=42, validation_size=0.2)
    assert dataset.test.rows == 2466
    assert fitted.test["average_precision"] > 0.70
    assert fitted.test["f1"] > 0.60


@pytest.mark.slow
def test_generated_data_is_learnable() -> None:
    """Generated data is neither hopeless nor perfect."""
    dataset = load_data()
    fitted = fit_variant(make_variant({}).params, dataset, seed=42, validation_size=0.2)
    assert 0.55 < fitted.test["average_precision"] < 0.90
