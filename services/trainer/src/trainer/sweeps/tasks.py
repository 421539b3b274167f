"""What a sweep's processes run: one variant, from what the parent process hands over."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.parameters import Variant
from trainer.data.sources import Dataset
from trainer.parallel.progress import Reporter
from trainer.runs import train as run
from trainer.runs.plan import Plan, Result
from trainer.tracking import client as tracking


@dataclass(frozen=True)
class Item:
    """One variant, the key by which its run can be found from outside, and its place among the sweep's variants."""

    variant: Variant
    key: str
    index: int


@dataclass(frozen=True)
class Shared:
    """What all variants of a sweep share."""

    dataset: Dataset
    plan: Plan
    #: Where to report progress to, if anywhere.
    progress: str | None = None


def train(item: Item, shared: Shared) -> Result:
    """Train and track a variant in this process."""
    tracking.configure()
    reporters = [Reporter(shared.progress, item.index, item.variant.name)] if shared.progress is not None else []
    return run.train(item.variant, shared.dataset, shared.plan, item.key, reporters)
