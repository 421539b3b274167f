"""Fits one variant: encodes categories, trains LightGBM, chooses the threshold, and puts the parts into one model.

The model is made of scikit-learn's own parts: it takes the raw feature table (texts, booleans, numbers, missing values
and all) and loads without this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.other_estimator import OtherEstimator
from trainer.config.parameter import Value
from trainer.config.selection_metric import DEFAULT_METRIC, Metric
from trainer.data.dataset import Dataset, Table
from trainer.training.cross_validation import FoldWork, SpreadFolds, cross_validated
from trainer.training.encoding import Encoding, hold_out
from trainer.training.fit_work import FitWork
from trainer.training.pipeline import (
    Callbacks,
    FitPipeline,
    ValidationFit,
    effective_parameters,
    fit_pipeline,
    is_lightgbm,
    mean_loss,
    rounds_used,
)
from trainer.training.tasks import TrainingTask, training_task
from trainer.training.threshold_rule import ThresholdRule

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline


#: What a fit imports, all of it slow to load.
NEEDS = ("lightgbm", "sklearn.compose", "sklearn.frozen", "sklearn.model_selection", "sklearn.pipeline")


@dataclass(frozen=True)
class FitResult:
    """A fitted variant.

    ``model`` answers with classes or numbers; ``pipeline`` is the encoder and the estimator in it. ``threshold``
    decides between two classes, and is NaN for other tasks. ``loss`` is the validation loss after each iteration, of
    another estimator than LightGBM's empty; ``params`` are the estimator's resolved parameters, ``effective`` the
    complete list LightGBM itself used.
    ``validation`` and ``test`` are the task's metrics, ``scores`` what the model says of the test rows (see ``tasks``).
    ``curve`` is the PR curve on the validation rows, as ``metrics.sampled_curve`` returns it.

    With cross-validation, the validation rows are all training rows, each scored by the model of the fold that it was
    left out of; ``validation`` and ``loss`` are means over the folds, ``folds`` and ``fold_losses`` the values of each.
    """

    task: TrainingTask
    model: Any
    pipeline: Pipeline
    threshold: float
    loss: list[float]
    iterations: int
    params: dict[str, Any]
    effective: dict[str, str]
    validation: dict[str, float]
    test: dict[str, float]
    scores: NDArray[np.float64]
    curve: tuple[float, ...]
    folds: list[dict[str, float]]
    fold_losses: list[list[float]]

    @property
    def is_lightgbm(self) -> bool:
        """Whether the estimator is LightGBM's: another has no iterations, trees and losses."""
        return is_lightgbm(self.pipeline[-1])

    @property
    def probability(self) -> NDArray[np.float64]:
        """The scores of a classifier."""
        return self.scores


def fit_variant(
    params: Mapping[str, Value],
    dataset: Dataset,
    *,
    seed: int,
    validation_size: float,
    threshold_rule: ThresholdRule | None = None,
    folds: int = 0,
    metric: Metric = DEFAULT_METRIC,
    callbacks: Callbacks | None = None,
    other: OtherEstimator | None = None,
    threads: int = 1,
    fit: FitPipeline = fit_pipeline,
    spread: SpreadFolds | None = None,
) -> FitResult:
    """Return a variant fitted to the training table and scored on the test table.

    A stratified part of the training table is held out, or each of some folds in turn: those rows give the loss after
    each iteration, the threshold, and the metrics that variants are chosen by. The test table is looked at once, at the
    end. Same data, parameters and seed give the same result, bit for bit.

    Args:
        params: The variant's complete parameters.
        dataset: The training and test tables.
        seed: Seeds the hold-out, and LightGBM unless the parameters say otherwise.
        validation_size: The share of the training rows (0 to 1) that is held out.
        threshold_rule: Chooses the threshold on the rows that are held out; the highest F1 by default.
        folds: How many stratified folds to cross-validate with, instead of the one hold-out; the model is then fitted
            to all training rows. 0 for the hold-out.
        metric: What stops the fit early.
        callbacks: Called by LightGBM after each iteration.
        other: Another estimator, in place of LightGBM with the parameters.
        threads: How many threads LightGBM fits with; the result does not depend on it.
        fit: What fits each pipeline.
        spread: What fits the models of a cross-validation in other processes, if anything; the result is the same.

    Raises:
        TrainerError: The estimator refuses the parameters or the data, or no threshold satisfies the rule.
    """
    task = training_task(dataset.task, dataset.classes)
    if other is None:
        task = task.with_params(params)
    if folds:
        work = FoldWork(params, dataset, seed, metric, other, folds=folds)
        learnt = cross_validated(work, callbacks or [], threads, fit, spread)
    else:
        learnt = _held_out(FitWork(params, dataset, seed, metric, other), validation_size, callbacks, threads, fit)
    threshold = task.threshold(threshold_rule or ThresholdRule(), learnt.rows, learnt.scores)
    judged = [task.evaluate(learnt.rows.take(part), learnt.scores[part], threshold) for part in learnt.parts]
    model = task.model(learnt.pipeline, dataset, threshold)
    classify = learnt.pipeline[-1]
    scores = _scores(dataset, learnt.pipeline, dataset.test, learnt.encoding)
    return FitResult(
        task=task,
        model=model,
        pipeline=learnt.pipeline,
        threshold=threshold,
        loss=mean_loss(learnt.losses),
        iterations=rounds_used(classify),
        params=classify.get_params(deep=False),
        effective=effective_parameters(classify),
        validation={name: float(np.mean([one[name] for one in judged])) for name in judged[0]},
        test=task.evaluate(dataset.test, scores, threshold) | task.of_each_class(dataset.test, scores),
        scores=scores,
        curve=task.curve(learnt.rows, learnt.scores),
        folds=judged if folds else [],
        fold_losses=learnt.losses if folds else [],
    )


def _held_out(
    work: FitWork, validation_size: float, callbacks: Callbacks | None, threads: int, fit: FitPipeline
) -> ValidationFit:
    held_out = hold_out(work.dataset, seed=work.seed, validation_size=validation_size)
    encoding, rows = held_out.encoding, held_out.validation
    pipeline, loss, scores = fit(work, encoding, rows, callbacks or [], threads)
    if scores is None:
        scores = _scores(work.dataset, pipeline, rows, encoding)
    return ValidationFit(pipeline, rows, scores, [np.arange(rows.rows)], [loss], encoding)


def _scores(dataset: Dataset, pipeline: Pipeline, rows: Table, encoding: Encoding | None) -> NDArray[Any]:
    """Return what a pipeline says of some rows, which are not encoded again where they have been."""
    task = training_task(dataset.task, dataset.classes)
    if encoding is None or not rows.held or not is_lightgbm(pipeline[-1]):
        return task.table_scores(pipeline, rows)
    return task.scores(pipeline[-1], encoding.table(rows))
