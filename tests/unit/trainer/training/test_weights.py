"""Sample weights: in the fit, the metrics, the threshold and early stopping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest
import sklearn.base
import sklearn.metrics
from trainer.config.other_estimator import parse_other_estimator
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.training import metrics
from trainer.training.cross_validation import FoldWork, cross_validated
from trainer.training.fit import FitResult, fit_variant
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.training.validation_split import fold_splits, split_validation


@pytest.fixture(scope="module")
def weighted(dataset: Dataset) -> Dataset:
    """Return the sessions, in which rows count from half to five times."""
    rng = np.random.default_rng(3)
    train = replace(dataset.train, weight=rng.uniform(0.5, 5, dataset.train.rows))
    test = replace(dataset.test, weight=rng.uniform(0.5, 5, dataset.test.rows))
    return replace(dataset, train=train, test=test, digest=train.digest, test_digest=test.digest)


def fit(dataset: Dataset, **more: Any) -> FitResult:
    params = complete_params({"n_estimators": 12, "num_leaves": 8, **more.pop("params", {})})
    return fit_variant(params, dataset, seed=5, validation_size=0.25, **more)


def test_whole_weights_are_repeated_rows() -> None:
    """A row of weight 3 is as three rows, for each metric and each rule."""
    rng = np.random.default_rng(4)
    target = (rng.random(80) < 0.4).astype(np.int64)
    probability: Any = np.round(np.clip(target * 0.3 + rng.random(80) * 0.7, 0, 1), 2)
    times = rng.integers(1, 4, 80)
    weight = times.astype(float)
    scores: Any
    many, scores = np.repeat(target, times), np.repeat(probability, times)
    assert metrics.metrics_at(target, probability, 0.4, weight) == pytest.approx(metrics.metrics_at(many, scores, 0.4))
    assert metrics.sampled_curve(target, probability, weight) == metrics.sampled_curve(many, scores)
    for text in ("max-f1", "precision>=0.6", "recall>=0.8", "f2", "balanced-accuracy", "cost:FP=1,FN=3"):
        rule = parse_threshold_rule(text)
        assert rule.choose(target, probability, weight) == rule.choose(many, scores)


def test_fit_is_lightgbms_own_with_weights(weighted: Dataset) -> None:
    fitted = fit(weighted)
    fitting, validation = split_validation(weighted, seed=5, validation_size=0.25)
    encode, classify = fitted.model.estimator_.estimator.named_steps.values()
    plain = lightgbm.LGBMClassifier(**{**classify.get_params(), "metric": None})
    names = classify.feature_name_
    kinds = len(weighted.columns("text")) + len(weighted.columns("boolean"))
    plain.fit(
        encode.transform(fitting.features),
        fitting.target,
        sample_weight=fitting.weight,
        feature_name=names,
        categorical_feature=names[:kinds],
    )
    expected = np.asarray(plain.predict_proba(encode.transform(validation.features)))[:, 1]
    loss = sklearn.metrics.log_loss(validation.target, expected, sample_weight=validation.weight)
    assert fitted.loss[-1] == pytest.approx(loss)
    assert fitted.validation["log_loss"] == pytest.approx(loss)
    found = fitted.model.predict_proba(validation.features)[:, 1]
    np.testing.assert_array_equal(found, expected)
    assert fitted.threshold == metrics.best_f1_threshold(validation.target, expected, validation.weight)


def test_other_estimator_takes_the_weights(weighted: Dataset) -> None:
    fitted = fit(weighted, other=parse_other_estimator("sklearn.linear_model:LogisticRegression", {"max_iter": 500}))
    fitting, _ = split_validation(weighted, seed=5, validation_size=0.25)
    rows: Any = fitted.pipeline[:-1].transform(fitting.features)
    plain = sklearn.base.clone(fitted.pipeline[-1]).fit(rows, fitting.target, sample_weight=fitting.weight)
    np.testing.assert_allclose(fitted.pipeline[-1].coef_, plain.coef_)
    unweighted = sklearn.base.clone(plain).fit(rows, fitting.target)
    assert not np.allclose(fitted.pipeline[-1].coef_, unweighted.coef_)


def test_test_metrics_are_weighted(weighted: Dataset) -> None:
    fitted = fit(weighted)
    called = fitted.probability >= fitted.threshold
    weight = weighted.test.weight
    assert fitted.test["f1"] == sklearn.metrics.f1_score(weighted.test.target, called, sample_weight=weight)
    assert fitted.test["f1"] != sklearn.metrics.f1_score(weighted.test.target, called)


@pytest.mark.parametrize("metric", ["f1", "roc_auc"])
def test_early_stopping_sees_the_weights(weighted: Dataset, metric: Any) -> None:
    """The loss that is kept of the last iteration is the weighted one, by whatever metric it stops."""
    fitted = fit(weighted, metric=metric, params={"n_estimators": 200, "early_stopping_round": 5})
    assert fitted.iterations < 200
    assert fitted.loss[fitted.iterations - 1] == pytest.approx(fitted.validation["log_loss"], rel=1e-6)


@pytest.mark.slow
def test_cross_validation_is_weighted(weighted: Dataset) -> None:
    fitted = fit(weighted, folds=3)
    learnt = cross_validated(
        FoldWork(complete_params({"n_estimators": 12, "num_leaves": 8}), weighted, 5, "f1", folds=3), []
    )
    scored = [
        sklearn.metrics.average_precision_score(rows.target, learnt.probability[part], sample_weight=rows.weight)
        for part in learnt.parts
        for rows in [learnt.rows.take(part)]
    ]
    assert [fold["average_precision"] for fold in fitted.folds] == pytest.approx(scored)
    assert fitted.threshold == metrics.best_f1_threshold(
        weighted.train.target, learnt.probability, weighted.train.weight
    )


@pytest.mark.slow
def test_forward_folds_score_only_later_rows(dataset: Dataset) -> None:
    """The first rows are in no fold, and the threshold comes from the others."""
    time = np.arange(dataset.train.rows, dtype=np.float64)
    timed = replace(dataset, train=replace(dataset.train, time=time))
    learnt = cross_validated(FoldWork(complete_params({"n_estimators": 5}), timed, 5, "f1", folds=4), [])
    splits = fold_splits(timed.train, 4, 5)
    first = min(int(out.min()) for _, out in splits)
    assert learnt.rows.rows == timed.train.rows - first > 0
    np.testing.assert_array_equal(learnt.rows.target, timed.train.target[first:])
    for part, (_, out) in zip(learnt.parts, splits, strict=True):
        np.testing.assert_array_equal(learnt.rows.take(part).time, time[out])
    assert fit(timed, folds=4).folds[0].keys() == set(metrics.METRIC_NAMES)
