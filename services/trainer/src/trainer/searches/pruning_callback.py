"""The callback that ends an unpromising trial early. ``study_pruner`` decides on it, perhaps on another machine.

A cluster's workers import this module, and nothing of Optuna.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.config.selection_metric import Metric
from trainer.training.iteration_metrics import loss_of, merit_of
from trainer.util.errors import PrunedError

#: A trial reports its metric at so many points, at equal shares of its own iterations: a slow learner with many trees
#: is compared with others at the same share of the way, and a report costs a write to the storage.
STEPS = 20


class PruningCallback:
    """A LightGBM callback that reports the metric that trials are chosen by, and ends an unpromising trial.

    Args:
        number: The trial's.
        metric: The metric.
        report: Called with number, point and value; returns whether the trial shall end.
    """

    order = 25
    before_iteration = False
    #: By the metric, see ``training.iteration_metrics``.
    decides = True

    def __init__(self, number: int, metric: Metric, report: Callable[[int, int, float], bool]) -> None:
        self._number, self._metric, self._report = number, metric, report
        self._reported = 0
        self.loss: list[float] = []

    def __call__(self, state: Any) -> None:
        """Report at each of the points, and ask whether to go on."""
        self.loss.append(loss_of(state) or 0.0)
        step = STEPS * (state.iteration + 1) // state.end_iteration
        if step <= self._reported:
            return
        self._reported = step
        if self._report(self._number, step, merit_of(state, self._metric)):
            raise PrunedError(self.loss)
