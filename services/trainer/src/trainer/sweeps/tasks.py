"""What a sweep's processes run: one variant, from what the parent process hands over."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.variant import Variant
from trainer.data.dataset import Dataset
from trainer.parallel.progress import Reporter
from trainer.runs.plan import Plan, TrainResult
from trainer.runs.train import train_run
from trainer.tracking.settings import configure


@dataclass(frozen=True)
class VariantTask:
    """One variant, the key by which its run can be found from outside, and its place among the sweep's variants."""

    variant: Variant
    key: str
    index: int


@dataclass(frozen=True)
class SweepContext:
    """What all variants of a sweep share."""

    dataset: Dataset
    plan: Plan
    #: Where to report progress to, if anywhere.
    progress: str | None = None


def train_variant(item: VariantTask, shared: SweepContext) -> TrainResult:
    """Train and track a variant in this process."""
    configure()
    reporters = [Reporter(shared.progress, item.index, item.variant.name)] if shared.progress is not None else []
    return train_run(item.variant, shared.dataset, shared.plan, item.key, reporters)
