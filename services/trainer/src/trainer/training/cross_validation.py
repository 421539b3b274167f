"""Cross-validation: each training row is scored by a model that was fitted to the other folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from trainer.training import iteration_metrics
from trainer.training.encoding import Encoding
from trainer.training.fit_work import FitWork
from trainer.training.pipeline import Callbacks, FitPipeline, ValidationFit, fit_pipeline, mean_loss, rounds_used
from trainer.training.tasks import training_task
from trainer.training.validation_split import Split, fold_splits
from trainer.util.errors import PrunedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class FoldWork(FitWork):
    """What the models of a cross-validation have in common: the fit, and how many folds there are."""

    folds: int

    @property
    def stops(self) -> bool:
        """Whether the folds' models tell how many iterations the last one makes."""
        return bool(self.params["early_stopping_round"]) and self.other is None

    def splits(self) -> list[Split]:
        """Return the rows that each fold is fitted to, and those that it holds out."""
        return fold_splits(self.dataset.train, self.folds, self.seed)

    def after(self, rounds: Sequence[int]) -> FoldWork:
        """Return the work of the last model, where the folds' models made so many iterations at their best."""
        if not self.stops:
            return self
        iterations = max(round(float(np.mean(rounds))), 1)
        return replace(self, params={**self.params, "n_estimators": iterations, "early_stopping_round": 0})


@dataclass(frozen=True)
class FoldFit:
    """What came of a fold: what its model says of the rows ``out``, the losses of these, and its iterations."""

    out: NDArray[np.int64]
    scores: NDArray[np.float64]
    loss: list[float]
    rounds: int


#: Fits the models of all folds, and the one of all rows, in other processes.
SpreadFolds: TypeAlias = Callable[[FoldWork], tuple[list[FoldFit], "Pipeline"]]


def fit_fold(
    work: FoldWork, split: Split, callbacks: Callbacks, threads: int = 1, fit: FitPipeline = fit_pipeline
) -> FoldFit:
    """Fit to the rows of one fold, and score those that it holds out."""
    stay, out = split
    table = work.dataset.train
    validation = table.take(out)
    pipeline, loss, scores = fit(work, Encoding(work.dataset, table.take(stay)), validation, callbacks, threads)
    if scores is None:
        scores = training_task(work.dataset.task, work.dataset.classes).table_scores(pipeline, validation)
    return FoldFit(out, scores, loss, rounds_used(pipeline[-1]))


def fit_all_rows(work: FoldWork, threads: int = 1, fit: FitPipeline = fit_pipeline) -> Pipeline:
    """Fit to all training rows."""
    return fit(work, Encoding(work.dataset, work.dataset.train), None, threads=threads).pipeline


def cross_validated(
    work: FoldWork,
    callbacks: Callbacks,
    threads: int = 1,
    fit: FitPipeline = fit_pipeline,
    spread: SpreadFolds | None = None,
) -> ValidationFit:
    """Score each row by a model that was fitted to the other folds, then fit one to all rows.

    Where the variant stops early, the last model makes as many iterations as the folds' models had at their best, on
    average: there is no row left that could tell it when to stop.
    """
    if spread is None:
        fitted = _one_after_the_other(work, callbacks, threads, fit)
        pipeline = fit_all_rows(work.after([one.rounds for one in fitted]), threads, fit)
    else:
        fitted, pipeline = spread(work)
    # Folds that go forward in time leave the first rows in all of them.
    left_out = np.sort(np.concatenate([one.out for one in fitted]))
    parts = [np.searchsorted(left_out, one.out) for one in fitted]
    scores = np.empty((len(left_out), *fitted[0].scores.shape[1:]))
    for part, one in zip(parts, fitted, strict=True):
        scores[part] = one.scores
    return ValidationFit(pipeline, work.dataset.train.take(left_out), scores, parts, [one.loss for one in fitted])


def _one_after_the_other(work: FoldWork, callbacks: Callbacks, threads: int, fit: FitPipeline) -> list[FoldFit]:
    fitted: list[FoldFit] = []
    for fold, split in enumerate(work.splits()):
        shifted = [_FoldCallback(callback, fold, work.folds) for callback in callbacks]
        try:
            fitted.append(fit_fold(work, split, shifted, threads, fit))
        except PrunedError as pruned:
            if fitted:
                pruned.loss = mean_loss([one.loss for one in fitted])
            raise
    return fitted


@dataclass(frozen=True, eq=False)
class _FoldCallback:
    """A callback to which the folds look like one long fit."""

    callback: Callable[[Any], None]
    fold: int
    folds: int

    @property
    def order(self) -> int:
        return int(getattr(self.callback, "order", 0))

    @property
    def decides(self) -> bool:
        return iteration_metrics.decides(self.callback)

    @property
    def before_iteration(self) -> bool:
        return bool(getattr(self.callback, "before_iteration", False))

    def __call__(self, state: Any) -> None:
        span = state.end_iteration
        self.callback(replace(state, iteration=self.fold * span + state.iteration, end_iteration=self.folds * span))
