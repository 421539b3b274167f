"""Trains one variant on another machine: the run that a sweep would give it, without a sweep's parent run."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from trainer.parallel.engine import run_task
from trainer.sweeps.tasks import SweepContext, VariantTask, train_variant
from trainer.util.signals import ignore_signals

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.parallel.engine import Engine
    from trainer.runs.plan import Plan, TrainResult


def train_on_worker(engine: Engine, variant: Variant, dataset: Dataset, plan: Plan) -> TrainResult:
    """Train a variant on another machine, and track it there.

    Args:
        engine: The machines.
        variant: What to train.
        dataset: What to train on.
        plan: Where to track it.

    Raises:
        TrainerError: The fit or the tracking failed, or its machine was lost again and again; no run is left running.
    """
    tracking = plan.destination.open()
    items = [VariantTask(variant, uuid.uuid4().hex, 0, alone=True)]

    def again(lost: VariantTask, reason: str) -> VariantTask:
        tracking.end_by_key(lost.key, "FAILED", reason)
        items.append(lost.again())
        return items[-1]

    try:
        return run_task(engine, train_variant, items[0], SweepContext(dataset, plan), again=again)
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with ignore_signals():
            # Stops at the first that the server does not answer for: it is gone.
            all(tracking.end_by_key(item.key, status) for item in items)
        raise
