"""Begins the fit of a sweep's longest variant as soon as the data is there: its run's process takes it over.

What the runs need is still imported then, on one processor; the fit takes the other (see ``parallel.spare_process``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer.parallel.fit_threads import is_large
from trainer.parallel.progress import Reporter
from trainer.sweeps.sweep import longest_first

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.parallel.forked_call import ForkedCall
    from trainer.parallel.spare_process import SpareProcess
    from trainer.training.fit import FitResult
    from trainer.training.train_config import TrainConfig


class BegunVariant:
    """The fit of a sweep's longest variant, which may have begun.

    Args:
        variants: The sweep's.
        spare: The process that is to fit it, if there is one.
        progress: Where it reports to.
    """

    def __init__(self, variants: Sequence[Variant], spare: SpareProcess[Any] | None, progress: str) -> None:
        self.index = longest_first(variants)[0]
        self._variant, self._spare, self._progress = variants[self.index], spare, progress
        #: The process that fits, by the variant's position; empty where the fit has not begun.
        self.running: dict[int, ForkedCall[FitResult]] = {}

    def begin(self, dataset: Dataset, config: TrainConfig) -> None:
        """Begin the fit, unless the table is large: another copy of it would take more memory than it saves time."""
        if self._spare is None or self._variant.other is not None or not dataset.train.held or is_large(dataset):
            return
        from trainer.runs.train import fit_planned

        reporter = Reporter(self._progress, self.index, self._variant.name)
        self.running[self.index] = self._spare.begin(partial(fit_planned, self._variant, dataset, config, [reporter]))

    def end(self) -> None:
        """End the fit, if it has begun: it is not needed."""
        if self._spare is not None:
            self._spare.close()
        self.running.clear()
