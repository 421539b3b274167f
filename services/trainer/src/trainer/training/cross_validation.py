"""Cross-validation: each training row is scored by a model that was fitted to the other folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.other_estimator import OtherEstimator
from trainer.config.parameters import Value
from trainer.config.selection_metric import Metric
from trainer.data.dataset import Dataset
from trainer.training import watching
from trainer.training.encoding import Encoding
from trainer.training.pipeline import Callbacks, FitPipeline, ValidationFit, fit_pipeline, mean_loss, rounds_used
from trainer.training.split import fold_splits
from trainer.training.tasks import training_task
from trainer.util.errors import PrunedError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cross_validated(
    params: Mapping[str, Value],
    dataset: Dataset,
    seed: int,
    folds: int,
    metric: Metric,
    callbacks: Callbacks,
    other: OtherEstimator | None = None,
    threads: int = 1,
    fit: FitPipeline = fit_pipeline,
) -> ValidationFit:
    """Score each row by a model that was fitted to the other folds, then fit one to all rows.

    Where the variant stops early, the last model makes as many iterations as the folds' models had at their best, on
    average: there is no row left that could tell it when to stop.
    """
    table = dataset.train
    task = training_task(dataset.task, dataset.classes)
    scored: list[NDArray[np.float64]] = []
    parts: list[NDArray[np.int64]] = []
    losses: list[list[float]] = []
    rounds: list[int] = []
    for fold, (stay, out) in enumerate(fold_splits(table, folds, seed)):
        validation = table.take(out)
        shifted = [_FoldCallback(callback, fold, folds) for callback in callbacks]
        try:
            encoding = Encoding(dataset, table.take(stay))
            pipeline, loss = fit(params, dataset, encoding, validation, seed, metric, shifted, other, threads)
        except PrunedError as pruned:
            if losses:
                pruned.loss = mean_loss(losses)
            raise
        scored.append(task.table_scores(pipeline, validation))
        parts.append(out)
        losses.append(loss)
        rounds.append(rounds_used(pipeline[-1]))
    if params["early_stopping_round"] and other is None:
        params = {**params, "n_estimators": max(round(float(np.mean(rounds))), 1), "early_stopping_round": 0}
    pipeline, _ = fit(params, dataset, Encoding(dataset, table), None, seed, metric, [], other, threads)
    # Folds that go forward in time leave the first rows in all of them.
    left_out = np.sort(np.concatenate(parts))
    parts = [np.searchsorted(left_out, part) for part in parts]
    scores = np.empty((len(left_out), *scored[0].shape[1:]))
    for part, some in zip(parts, scored, strict=True):
        scores[part] = some
    return ValidationFit(pipeline, table.take(left_out), scores, parts, losses)


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
        return watching.decides(self.callback)

    @property
    def before_iteration(self) -> bool:
        return bool(getattr(self.callback, "before_iteration", False))

    def __call__(self, state: Any) -> None:
        span = state.end_iteration
        self.callback(replace(state, iteration=self.fold * span + state.iteration, end_iteration=self.folds * span))
