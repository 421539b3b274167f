"""Finds the variants of a sweep that an earlier one has finished already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer.parallel.engine import run_short_task
from trainer.runs import cache_key
from trainer.runs.cache_key import run_key
from trainer.runs.plan import TrainResult
from trainer.tracking.client import Destination
from trainer.tracking.errors import tracking_errors

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.parallel.engine import Engine
    from trainer.runs.plan import Plan


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run holds of its result: plain data that can be handed to another process."""

    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, run: Any) -> FinishedRun:
        """Return what one of MLflow's runs holds."""
        return cls(run.info.run_id, dict(run.data.metrics), dict(run.data.tags))


@dataclass(frozen=True)
class RunLookup:
    """Where to look for finished runs, and the cache keys to look for."""

    destination: Destination
    keys: Sequence[str]


def finished_runs(
    variants: Sequence[Variant], dataset: Dataset, plan: Plan, engine: Engine | None = None
) -> dict[int, TrainResult]:
    """Return the results that earlier runs of the experiment hold, by the variants' positions.

    A run counts when it is FINISHED and of the same identity: data, splits, seed, parameters, settings and code.

    Args:
        variants: What is to be trained.
        dataset: What it would be trained on.
        plan: Where runs are tracked, and what the variants have in common.
        engine: What the variants run on: where that is other machines, one of them may ask.

    Raises:
        TrackingError: The server fails.
    """
    wanted = [run_key(variant, dataset, plan.config) for variant in variants]
    lookup = RunLookup(plan.destination, list(dict.fromkeys(wanted)))
    found = run_short_task(engine, _find_runs, lookup)
    return {
        place: run_result(variant, found[its], dataset, plan)
        for place, (variant, its) in enumerate(zip(variants, wanted, strict=True))
        if its in found
    }


def _find_runs(lookup: RunLookup, _shared: None) -> dict[str, FinishedRun]:
    """Return the latest finished run of each cache key that has one."""
    with tracking_errors():
        found = {its: _latest(its, lookup.destination) for its in lookup.keys}
    return {its: FinishedRun.of(run) for its, run in found.items() if run is not None}


def _latest(its: str, destination: Destination) -> Any:
    """Return the latest finished run of an identity, or None.

    A request for each: one for all would bring every run that was ever trained with the same data and code.
    """
    tracking = destination.open()
    found = tracking.call(
        tracking.client.search_runs,
        [destination.experiment_id],
        f"attributes.status = 'FINISHED' AND tags.`{cache_key.TAG}` = '{its}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def run_result(variant: Variant, run: FinishedRun, dataset: Dataset, plan: Plan, reused: bool = True) -> TrainResult:
    """Return the result that a finished run holds."""
    from trainer.runs.train import CURVE_TAG, FOLD, WARNINGS_TAG

    metrics = {name: value for name, value in run.metrics.items() if not name.startswith(FOLD)}
    curve = run.tags.get(CURVE_TAG, "")
    return replace(
        plan.result(variant, run.run_id, dataset),
        metrics=metrics,
        iterations=int(metrics["iterations"]) if "iterations" in metrics else None,
        reused=reused,
        curve=tuple(float(precision) for precision in curve.split(",")) if curve else (),
        warnings=tuple(run.tags.get(WARNINGS_TAG, "").splitlines()),
    )
