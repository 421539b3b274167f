"""The run of one variant on a cluster's worker, which has all imports: ``trainer train --cluster``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from trainer.cli import preparation
from trainer.util.output import print_message

if TYPE_CHECKING:
    from trainer.cli.options.tracking import TrackingOptions
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.runs.plan import Plan, TrainResult
    from trainer.training.train_config import TrainConfig


class RunOnWorker:
    """A run on one of a cluster's workers; with the interface of ``BegunFit``.

    Args:
        variant: What to train.
        stack: Whose end leaves the cluster.
        cluster: The scheduler's address.
        tracking: The options that say where to track.

    Raises:
        TrainerError: The cluster cannot be used.
    """

    def __init__(self, variant: Variant, stack: ExitStack, cluster: str, tracking: TrackingOptions) -> None:
        self._variant = variant
        preparation.check_served(tracking)
        self.engine = stack.enter_context(closing(preparation.open_cluster(cluster, tracking.wait)))
        print_message(f"one worker's run{preparation.where(cluster)}")

    def begin(self, dataset: Dataset, config: TrainConfig) -> None:
        """Do nothing yet: its worker fits when it has begun the run."""

    def train(self, dataset: Dataset, plan: Plan) -> TrainResult:
        """Train and track the variant, and return what came of it."""
        from trainer.sweeps.single import train_on_worker

        return train_on_worker(self.engine, self._variant, dataset, plan)
