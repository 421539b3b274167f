"""Decides whether a trial is unpromising, by what the study holds of the other trials.

This runs in the trial's own process. For trials on other machines it runs in the process of the search.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import optuna

from trainer.searches.pruning_callback import STEPS

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage


def make_pruner(kind: str) -> BasePruner:
    """Return the pruner of this name; none prunes before a quarter of a trial's iterations."""
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=STEPS // 4)
    if kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=STEPS // 4, max_resource=STEPS, reduction_factor=2)
    return optuna.pruners.NopPruner()


class StudyPruner:
    """Writes a trial's reports to its study, and tells whether the trial shall end.

    Args:
        storage: Where the study is kept.
        name: The study's name.
        kind: The pruner's name.
    """

    def __init__(self, storage: BaseStorage, name: str, kind: str) -> None:
        self._storage = storage
        self._study = optuna.load_study(storage=storage, study_name=name, pruner=make_pruner(kind))
        self._study_id = storage.get_study_id_from_name(name)

    def __call__(self, number: int, step: int, value: float) -> bool:
        """Take a report; return whether the trial shall end.

        Args:
            number: The trial's.
            step: At which of the points it is.
            value: What is better the higher it is.
        """
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self._storage.set_trial_intermediate_value(trial_id, step, value)
        if step >= STEPS:
            return False
        trial = copy.copy(self._storage.get_trial(trial_id))
        # A trial whose machine was lost begins anew, and what it reported there is still in the study.
        trial.intermediate_values = {at: its for at, its in trial.intermediate_values.items() if at <= step}
        return self._study.pruner.prune(self._study, trial)
