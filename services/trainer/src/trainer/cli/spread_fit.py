"""The fit of one variant over the workers of a cluster (``trainer train --distributed``)."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from trainer.cli import preparation
from trainer.util.output import print_message

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.training.config import TrainConfig
    from trainer.training.fit import FitResult


class SpreadFit:
    """A fit that begins when its run has; with the interface of ``BegunFit``.

    Args:
        variant: What to fit.
        stack: Whose end ends the fit too.
        cluster: The scheduler's address.
        patience: How long to wait for the scheduler and for the first worker, in seconds.

    Raises:
        TrainerError: The cluster cannot be used.
    """

    threads = 1

    def __init__(self, variant: Variant, stack: ExitStack, cluster: str, patience: float) -> None:
        self._variant = variant
        self._pool = stack.enter_context(closing(preparation.open_cluster(cluster, patience)))
        print_message(f"one fit over {self._pool.jobs} workers{preparation.where(cluster)}")

    def begin(self, dataset: Dataset, config: TrainConfig) -> None:
        """Take the data and the settings."""
        self._dataset, self._config = dataset, config

    def result(self) -> FitResult:
        """Fit, and return what came of it; once."""
        from trainer.parallel.cluster.distributed_fit import DistributedFit
        from trainer.runs.train import fit_planned

        spread = DistributedFit(self._pool, print_message)
        return fit_planned(self._variant, self._dataset, self._config, fit=spread.fit_pipeline)
