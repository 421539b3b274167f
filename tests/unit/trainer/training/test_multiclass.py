"""Several classes: metrics beside scikit-learn's own, answers, folds, weights, early stopping and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from trainer.config.selection_metric import merit
from trainer.config.task import MULTICLASS
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.training.fit import FitResult, fit_variant
from trainer.training.fit_warnings import fit_warnings
from trainer.training.iteration_metrics import merit_of
from trainer.training.multiclass_metrics import metric_names
from trainer.training.tasks import training_task
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.training.train_config import TrainConfig
from trainer.training.validation_split import check_splits
from trainer.util.errors import InputError

CLASSES = ("high, really", "low", "mid", "très")


def fit(data: Dataset, folds: int = 0, metric: Any = "log_loss", **params: Any) -> FitResult:
    chosen = make_variant({"n_estimators": 15, "num_leaves": 8, **params}).params
    return fit_variant(chosen, data, seed=5, validation_size=0.25, folds=folds, metric=metric)


@pytest.fixture(scope="module")
def fitted(classes: Dataset) -> FitResult:
    return fit(classes)


def test_model_answers_with_the_names(classes: Dataset, fitted: FitResult) -> None:
    assert classes.classes == CLASSES
    answers = fitted.model.predict(classes.test.features)
    assert set(answers) <= set(CLASSES)
    np.testing.assert_array_equal(answers, np.array(CLASSES)[fitted.scores.argmax(axis=1)])
    assert fitted.model.classes_.tolist() == list(CLASSES)
    assert np.isnan(fitted.threshold)


def test_metrics_are_those_of_scikit_learn(classes: Dataset, fitted: FitResult) -> None:
    """To the last digit, from the classes' names on."""
    true, scores = np.array(CLASSES)[classes.test.target], fitted.model.predict_proba(classes.test.features)
    called = fitted.model.predict(classes.test.features)
    one_hot = true[:, None] == np.array(CLASSES)
    assert {name: fitted.test[name] for name in MULTICLASS.metrics} == {
        "f1_macro": sklearn.metrics.f1_score(true, called, average="macro"),
        "precision_macro": sklearn.metrics.precision_score(true, called, average="macro"),
        "recall_macro": sklearn.metrics.recall_score(true, called, average="macro"),
        "accuracy": sklearn.metrics.accuracy_score(true, called),
        "average_precision_macro": sklearn.metrics.average_precision_score(one_hot, scores, average="macro"),
        "roc_auc_macro": sklearn.metrics.roc_auc_score(true, scores, multi_class="ovr", average="macro"),
        "log_loss": sklearn.metrics.log_loss(true, scores, labels=list(CLASSES)),
    }
    each = sklearn.metrics.classification_report(true, called, output_dict=True)
    names = metric_names(CLASSES)
    for name, label in zip(names, CLASSES, strict=True):
        assert fitted.test[f"f1/{name}"] == each[label]["f1-score"]
        assert fitted.test[f"precision/{name}"] == each[label]["precision"]
        assert fitted.test[f"recall/{name}"] == each[label]["recall"]


def test_probabilities_are_plain_lightgbms(classes: Dataset, fitted: FitResult) -> None:
    encode, classify = fitted.pipeline.named_steps.values()
    plain = classify.booster_.predict(encode.transform(classes.test.features))
    assert plain.tobytes() == fitted.scores.tobytes()
    assert fit(classes).scores.tobytes() == fitted.scores.tobytes()


def test_names_in_metrics_are_such_as_mlflow_takes() -> None:
    assert metric_names(["a b", "c/d", "c_d", "..", 7, -1]) == ["a b", "c_d", "c_d_2", "class_3", "7", "-1"]


def test_absent_class_has_no_part_in_a_mean(classes: Dataset, fitted: FitResult) -> None:
    rows = np.flatnonzero(classes.test.target != 1)
    some, scores = classes.test.take(rows), fitted.scores[rows]
    found = fitted.task.evaluate(some, scores, np.nan)
    there = [code for code in range(4) if code != 1]
    precision = [sklearn.metrics.average_precision_score(some.target == code, scores[:, code]) for code in there]
    assert found["average_precision_macro"] == np.mean(precision)
    each = fitted.task.of_each_class(some, scores)
    assert found["f1_macro"] == np.mean([each[f"f1/{metric_names(CLASSES)[code]}"] for code in there])
    assert "f1/low" not in each


@pytest.mark.parametrize("metric", MULTICLASS.choices)
def test_stops_early_by_what_is_chosen_by(classes: Dataset, metric: Any) -> None:
    seen: list[float] = []
    params = make_variant({"n_estimators": 60, "early_stopping_round": 4, "learning_rate": 0.4}).params
    fitted = fit_variant(
        params,
        classes,
        seed=5,
        validation_size=0.25,
        metric=metric,
        callbacks=[lambda state: seen.append(merit_of(state, metric))],
    )
    assert fitted.iterations == int(np.argmax(seen)) + 1
    assert merit(metric, fitted.validation[metric]) == pytest.approx(max(seen))
    assert fitted.loss[fitted.iterations - 1] == pytest.approx(fitted.validation["log_loss"])


def test_folds_hold_each_class(classes: Dataset) -> None:
    """Each row is scored once; the means are those of the folds."""
    fitted = fit(classes, folds=3)
    assert len(fitted.folds) == 3
    assert fitted.validation["f1_macro"] == np.mean([fold["f1_macro"] for fold in fitted.folds])
    with pytest.raises(InputError, match="folds are too many: the training rows hold"):
        check_splits(classes, seed=5, validation_size=0.2, folds=int(np.bincount(classes.train.target).min()) + 1)


def test_metrics_are_weighted(classes: Dataset) -> None:
    weight = np.random.default_rng(1).uniform(0.1, 5, classes.rows)
    data = replace(
        classes,
        train=replace(classes.train, weight=weight[: classes.train.rows]),
        test=replace(classes.test, weight=weight[classes.train.rows :]),
    )
    fitted = fit(data, metric="f1_macro", early_stopping_round=5)
    called = fitted.scores.argmax(axis=1)
    options = {"average": "macro", "sample_weight": data.test.weight}
    assert fitted.test["f1_macro"] == sklearn.metrics.f1_score(data.test.target, called, **options)
    assert fitted.test["log_loss"] == sklearn.metrics.log_loss(
        data.test.target, fitted.scores, sample_weight=data.test.weight
    )
    each = sklearn.metrics.recall_score(data.test.target, called, average=None, sample_weight=data.test.weight)
    names = metric_names(data.classes)
    assert [fitted.test[f"recall/{name}"] for name in names] == each.tolist()


def test_groups_that_part_the_classes_are_refused(classes: Dataset) -> None:
    data = replace(classes, train=replace(classes.train, group=classes.train.target.copy()))
    with pytest.raises(InputError, match=r"--group: the .* rows fitted to lack the classes"):
        check_splits(data, seed=5, validation_size=0.25, folds=0)


def test_curve_is_the_mean_over_the_classes(classes: Dataset, fitted: FitResult) -> None:
    assert len(fitted.curve) == 101
    assert fitted.curve[0] >= fitted.curve[-1]


def test_noise_is_no_better_than_a_constant(make_table: Callable[..., Dataset]) -> None:
    rng = np.random.default_rng(5)
    target = rng.choice(["a", "b", "c"], 500, p=[0.7, 0.2, 0.1])
    data = make_table(pd.DataFrame({"x": rng.normal(size=500), "z": rng.normal(size=500), "y": target}))
    found = fit_warnings(fit(data, n_estimators=40), data.train)
    assert "no better than a constant: its validation accuracy is" in found[0]
    assert "calling every row 'a' has 0.7200" in found[0]


def test_answers_of_another_kind_are_no_metrics(classes: Dataset, fitted: FitResult) -> None:
    with pytest.raises(ValueError, match="does not predict the classes"):
        fitted.task.judge(classes.test, np.full(classes.test.rows, "unheard of"), None)
    answers = fitted.model.predict(classes.test.features)
    found = training_task("multiclass", CLASSES).judge(classes.test, answers, fitted.scores)
    assert found == fitted.test


def test_threshold_and_foreign_metric_are_refused() -> None:
    with pytest.raises(InputError, match="--threshold: a multiclass target has no threshold"):
        TrainConfig(threshold_rule=parse_threshold_rule("0.3"), metric="log_loss").check(MULTICLASS)
    with pytest.raises(InputError, match="--metric: 'rmse' is none of a multiclass target's"):
        MULTICLASS.metric("rmse")
