"""Cross-validation: every training row is scored by a model that has not seen it, and the test rows decide nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from mlflow import MlflowClient
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from trainer.config.parameter import Value
from trainer.config.variant import complete_params, make_variant
from trainer.data.dataset import Dataset, Table
from trainer.runs.plan import Plan
from trainer.runs.train import train_run
from trainer.training import metrics
from trainer.training.encoding import encoder
from trainer.training.fit import FitResult, fit_variant
from trainer.training.metrics import METRIC_NAMES
from trainer.training.pipeline import estimator
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.training.validation_split import check_splits
from trainer.util.errors import InputError, PrunedError

FOLDS = 3
SMALL: dict[str, Value] = {"n_estimators": 12, "num_leaves": 8}


def cross_validated(dataset: Dataset, policy: str = "max-f1", **more: Any) -> FitResult:
    complete = complete_params({**SMALL, **more})
    return fit_variant(
        complete, dataset, seed=5, validation_size=0.2, folds=FOLDS, threshold_rule=parse_threshold_rule(policy)
    )


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FitResult:
    return cross_validated(dataset)


def splits(dataset: Dataset) -> list[tuple[Any, Any]]:
    return list(
        StratifiedKFold(FOLDS, shuffle=True, random_state=5).split(dataset.train.features, dataset.train.target)
    )


def left_out(dataset: Dataset, **more: Any) -> Any:
    """Scores of the training rows as scikit-learn's own cross-validation gives them."""
    classify = estimator(complete_params({**SMALL, **more}), 5)
    categories = list(range(len(dataset.columns("text")) + len(dataset.columns("boolean"))))
    return cross_val_predict(
        Pipeline([("encode", encoder(dataset)), ("classify", classify)]),
        dataset.train.features,
        dataset.train.target,
        cv=splits(dataset),
        method="predict_proba",
        params={"classify__categorical_feature": categories},
    )[:, 1]


def test_metrics_are_of_left_out_rows(dataset: Dataset, fitted: FitResult) -> None:
    """Metrics and threshold are those of rows that were left out."""
    scores = left_out(dataset)
    assert fitted.threshold == metrics.best_f1_threshold(dataset.train.target, scores)
    each = [
        sklearn.metrics.average_precision_score(dataset.train.target[out], scores[out]) for _, out in splits(dataset)
    ]
    assert [fold["average_precision"] for fold in fitted.folds] == pytest.approx(each)
    assert fitted.validation["average_precision"] == pytest.approx(np.mean(each))
    losses = [sklearn.metrics.log_loss(dataset.train.target[out], scores[out]) for _, out in splits(dataset)]
    assert fitted.loss[-1] == pytest.approx(np.mean(losses))


def test_model_is_fitted_to_all_training_rows(dataset: Dataset, fitted: FitResult) -> None:
    text = fitted.model.estimator_.estimator[-1].booster_.dump_model()["tree_info"][0]["tree_structure"]
    assert text["internal_count"] == dataset.train.rows


def test_test_rows_have_no_part_in_it(dataset: Dataset, fitted: FitResult) -> None:
    other = cross_validated(replace(dataset, test=Table(dataset.test.features, 1 - dataset.test.target)))
    assert (other.loss, other.threshold, other.folds) == (fitted.loss, fitted.threshold, fitted.folds)
    assert other.test != fitted.test


def test_folds_mean_iterations_fit_the_model(dataset: Dataset) -> None:
    """Early stopping gives the model the mean of the folds iterations."""
    stopping = {"n_estimators": 200, "learning_rate": 0.3, "early_stopping_round": 5}
    complete = complete_params({**SMALL, **stopping})
    early = fit_variant(complete, dataset, seed=5, validation_size=0.2, folds=FOLDS, metric="log_loss")
    best = [int(np.argmin(losses)) + 1 for losses in early.fold_losses]
    assert max(best) < 200
    assert early.iterations == early.params["n_estimators"] == round(np.mean(best))
    assert early.model.estimator_.estimator[-1].booster_.current_iteration() == early.iterations


@pytest.mark.slow
@pytest.mark.parametrize("weighting", [{"class_weight": "balanced"}, {"is_unbalance": True}, {"scale_pos_weight": 4.0}])
def test_class_weights_hold_in_the_folds(weighting: dict[str, Any], dataset: Dataset, fitted: FitResult) -> None:
    """Class weights hold in the folds and in the model."""
    weighted = cross_validated(dataset, **weighting)
    assert weighted.threshold == metrics.best_f1_threshold(dataset.train.target, left_out(dataset, **weighting))
    assert weighted.probability.mean() > fitted.probability.mean() + 0.03


def test_rule_is_kept_on_left_out_rows(dataset: Dataset) -> None:
    """Rule is kept on the rows that were left out."""
    kept = cross_validated(dataset, "recall>=0.9")
    called = left_out(dataset) >= kept.threshold
    assert called[dataset.train.target == 1].mean() >= 0.9
    np.testing.assert_array_equal(kept.model.predict(dataset.test.features), kept.probability >= kept.threshold)


def test_callbacks_see_one_long_fit(dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []

    def see(state: Any) -> None:
        seen.append((state.iteration, state.end_iteration))

    fit_variant(complete_params(SMALL), dataset, seed=5, validation_size=0.2, folds=FOLDS, callbacks=[see])
    assert seen == [(n, FOLDS * 12) for n in range(FOLDS * 12)]


@pytest.mark.parametrize("after", [5, 20])
def test_pruned_variant_keeps_whole_folds_losses(after: int, dataset: Dataset, fitted: FitResult) -> None:
    """Pruned variant keeps the losses of whole folds."""
    losses: list[float] = []

    def prune(state: Any) -> None:
        losses.append(state.evaluation_result_list[0][2])
        if len(losses) == after:
            raise PrunedError(losses)

    with pytest.raises(PrunedError) as pruned:
        fit_variant(
            complete_params(SMALL),
            dataset,
            seed=5,
            validation_size=0.2,
            folds=FOLDS,
            metric="log_loss",
            callbacks=[prune],
        )
    assert pruned.value.loss == fitted.fold_losses[0][:after]


def test_too_many_folds_are_refused(dataset: Dataset) -> None:
    """Too many folds are refused with how many there can be."""
    kept = np.append(np.flatnonzero(dataset.train.target == 0), np.flatnonzero(dataset.train.target == 1)[:3])
    few = replace(dataset, train=dataset.train.take(kept))
    with pytest.raises(InputError, match=r"--cv: 5 folds are too many: .* hold 3 of the rarer class.*at most 3"):
        check_splits(few, seed=5, validation_size=0.2, folds=5)
    check_splits(few, seed=5, validation_size=0.2, folds=3)
    check_splits(few, seed=5, validation_size=0.2, folds=0)


def test_run_logs_folds_mean_and_deviation(dataset: Dataset, plan: Plan) -> None:
    """Run logs each fold their mean and deviation."""
    result = train_run(make_variant(SMALL), dataset, replace(plan, config=replace(plan.config, folds=FOLDS)))
    client = MlflowClient(plan.destination.uri)
    found = client.get_run(str(result.run_id)).data
    assert found.params["cv_folds"] == "3"
    assert found.params["rows_fit"] == str(dataset.train.rows)
    assert "validation_size" not in found.params
    for name in METRIC_NAMES:
        folds = client.get_metric_history(str(result.run_id), f"fold_{name}")
        assert [fold.step for fold in folds] == [1, 2, 3]
        values = [fold.value for fold in folds]
        assert found.metrics[f"validation_{name}_std"] == pytest.approx(np.std(values, ddof=1))
        if name != "log_loss":
            assert found.metrics[f"validation_{name}"] == pytest.approx(np.mean(values))
    assert result.score == found.metrics["validation_average_precision"]


@pytest.mark.parametrize("text", ["1", "0", "101", "2.5", "x"])
def test_command_line_refuses_a_wrong_number_of_folds(text: str, trainer: Callable[..., Any], workdir: Path) -> None:
    answer = trainer("--cv", text)
    assert answer.code == 2
    assert "--cv" in answer.error


def test_validation_share_beside_folds_warns(trainer: Callable[..., Any], workdir: Path) -> None:
    """A validation share beside folds is said to have no effect."""
    small = ("--n-estimators", 3, "--num-leaves", 4)
    remark = "--validation-size has no effect beside --cv"
    assert remark in trainer("--cv", 2, "--validation-size", 0.3, *small).err
    assert remark not in trainer("--validation-size", 0.3, *small).err
