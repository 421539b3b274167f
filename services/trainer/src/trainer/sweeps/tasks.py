"""What a sweep's processes run: one variant, from what the parent process hands over."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer.parallel.fit_threads import threads_alone
from trainer.parallel.progress import Reporter
from trainer.tracking.settings import configure

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.parallel.forked_call import ForkedCall
    from trainer.runs.plan import Plan, TrainResult
    from trainer.training.fit import FitResult


@dataclass(frozen=True)
class VariantTask:
    """One variant, the key by which its run can be found from outside, and its place among the sweep's variants."""

    variant: Variant
    key: str
    index: int
    #: The key of an earlier attempt, whose machine was lost.
    former: str | None = None
    #: The process on this machine that fits it already, if any.
    begun: ForkedCall[FitResult] | None = None
    #: Whether its command fits no other variant beside it.
    alone: bool = False

    def again(self) -> VariantTask:
        """Return the task for another attempt."""
        return replace(self, key=uuid.uuid4().hex, former=self.key, begun=None)


@dataclass(frozen=True)
class SweepContext:
    """What all variants of a sweep share."""

    dataset: Dataset
    plan: Plan
    #: Where to report progress to, if anywhere.
    progress: str | None = None


def train_variant(item: VariantTask, shared: SweepContext) -> TrainResult:
    """Train and track a variant in this process."""
    # Here, because a command whose tasks run on other machines imports this module for the tasks' names alone.
    from trainer.runs.resume import FinishedRun, run_result
    from trainer.runs.train import train_run

    configure()
    if item.former is not None and (finished := shared.plan.destination.open().find_finished(item.former)) is not None:
        # The machine was lost between the run's end and the answer.
        return run_result(item.variant, FinishedRun.of(finished), shared.dataset, shared.plan, reused=False)
    reporters = [Reporter(shared.progress, item.index, item.variant.name)] if shared.progress is not None else []
    begun = item.begun.result if item.begun is not None and item.begun.exists else None
    threads = threads_alone(item.variant, shared.dataset) if item.alone else 1
    return train_run(item.variant, shared.dataset, shared.plan, item.key, reporters, begun, threads)
