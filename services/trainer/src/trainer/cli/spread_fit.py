"""The fit of one variant on a cluster: ``trainer train --distributed``, or the folds of ``--cv`` with ``--cluster``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from trainer.cli import preparation
from trainer.util.output import print_message

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.runs.plan import Plan, TrainResult
    from trainer.training.fit import FitResult
    from trainer.training.train_config import TrainConfig


class SpreadFit:
    """A fit that begins when its run has; with the interface of ``BegunFit``.

    Args:
        variant: What to fit.
        distributed: Whether each model is fitted over all workers; otherwise each is one worker's.
        stack: Whose end ends the fit too.
        cluster: The scheduler's address.
        patience: How long to wait for the scheduler and for the first worker, in seconds.

    Raises:
        TrainerError: The cluster cannot be used.
    """

    #: The run itself is this process's.
    engine = None

    def __init__(self, variant: Variant, distributed: bool, stack: ExitStack, cluster: str, patience: float) -> None:
        self._variant, self._distributed = variant, distributed
        self._pool = stack.enter_context(closing(preparation.open_cluster(cluster, patience)))
        what = "one fit over" if distributed else "the folds, one each on"
        print_message(f"{what} {self._pool.jobs} workers{preparation.where(cluster)}")

    def begin(self, dataset: Dataset, config: TrainConfig) -> None:
        """Take the data and the settings."""
        self._dataset, self._config = dataset, config

    def train(self, dataset: Dataset, plan: Plan) -> TrainResult:
        """Train and track the variant, and return what came of it."""
        from trainer.runs.train import train_run

        return train_run(self._variant, dataset, plan, begun=self._fit)

    def _fit(self) -> FitResult:
        from trainer.runs.train import fit_planned

        if not self._distributed:
            from trainer.parallel.spread_folds import FoldsBySide

            by_side = FoldsBySide(self._pool, print_message)
            return fit_planned(self._variant, self._dataset, self._config, spread=by_side)
        from trainer.parallel.cluster.distributed_fit import DistributedFit

        spread = DistributedFit(self._pool, print_message)
        return fit_planned(self._variant, self._dataset, self._config, fit=spread.fit_pipeline)
