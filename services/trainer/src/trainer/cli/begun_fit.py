"""Begins the fit of a run by itself as soon as its data is there: the rest of the imports need not come first.

MLflow, matplotlib and the model's format take a second and a half to import, and the server has to be asked. The fit
needs none of them, so it goes on in a fork meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from trainer.parallel.fit_threads import threads_alone
from trainer.parallel.forked_call import call_in_fork, can_fork
from trainer.util.output import print_message

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.runs.plan import Plan, TrainResult
    from trainer.training.fit import FitResult
    from trainer.training.train_config import TrainConfig


class BegunFit:
    """The fit of one variant, which may have begun in a fork of this process.

    Args:
        variant: What to fit.
        stack: Whose end ends the fit too.
    """

    def __init__(self, variant: Variant, stack: ExitStack) -> None:
        self._variant, self._stack = variant, stack
        # A fork of a process whose LightGBM has had several threads would wait for them for ever.
        self._may_fork = "lightgbm" not in sys.modules and can_fork()
        #: The other machines that the run is on: none.
        self.engine = None
        # Waits for the fit; None where it has not begun.
        self._result: Callable[[], FitResult] | None = None
        # How many threads it has, or has to have where it has not begun.
        self._threads = 1

    def begin(self, dataset: Dataset, config: TrainConfig) -> None:
        """Decide on the fit's threads, and begin it if this process can be forked safely."""
        self._threads = threads_alone(self._variant, dataset)
        if self._threads > 1:
            print_message(f"large table: the fit uses {self._threads} processors")
        # What reads from a bucket has threads, which a fork has not.
        if not (self._may_fork and dataset.train.held):
            return
        from trainer.accelerators import background_import
        from trainer.runs.train import fit_planned
        from trainer.training import fit

        # The rest is imported while the fit goes on: this process loads no other's models.
        background_import.load(*fit.NEEDS, "trainer.accelerators.known_estimators")
        fitting = call_in_fork(partial(fit_planned, self._variant, dataset, config, threads=self._threads))
        # Where the system refuses a process or its socket, the fit begins later.
        with suppress(OSError):
            self._result = self._stack.enter_context(fitting).result

    def train(self, dataset: Dataset, plan: Plan) -> TrainResult:
        """Train and track the variant, with the fit that has begun if there is one; return what came of it."""
        from trainer.runs.train import train_run

        return train_run(self._variant, dataset, plan, begun=self._result, threads=self._threads)
