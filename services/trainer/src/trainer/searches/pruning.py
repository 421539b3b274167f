"""Ends unpromising trials early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from trainer.config.selection_metric import Metric
from trainer.searches.storage import open_storage
from trainer.training.watching import loss_of, merit_of
from trainer.util.errors import PrunedError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

#: A trial reports its metric at so many points, at equal shares of its own iterations: a slow learner with many trees
#: is compared with others at the same share of the way, and a report costs a write to the storage.
STEPS = 20


def make_pruner(kind: str) -> BasePruner:
    """Return the pruner of this name; none prunes before a quarter of a trial's iterations."""
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=STEPS // 4)
    if kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=STEPS // 4, max_resource=STEPS, reduction_factor=2)
    return optuna.pruners.NopPruner()


class Pruning:
    """A LightGBM callback that reports the metric that trials are chosen by, and ends an unpromising trial."""

    order = 25
    before_iteration = False

    def __init__(self, place: str, name: str, number: int, kind: str, metric: Metric) -> None:
        self._storage = open_storage(place)
        self._study = optuna.load_study(storage=self._storage, study_name=name, pruner=make_pruner(kind))
        study_id = self._storage.get_study_id_from_name(name)
        self._trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self._metric = metric
        self._reported = 0
        self.loss: list[float] = []

    def __call__(self, state: Any) -> None:
        """Report at each of the points, and ask whether to go on."""
        self.loss.append(loss_of(state) or 0.0)
        step = STEPS * (state.iteration + 1) // state.end_iteration
        if step <= self._reported:
            return
        self._reported = step
        self._storage.set_trial_intermediate_value(self._trial_id, step, merit_of(state, self._metric))
        if step < STEPS and self._study.pruner.prune(self._study, self._storage.get_trial(self._trial_id)):
            raise PrunedError(self.loss)
