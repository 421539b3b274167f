"""Finds the variants of a sweep that an earlier one has finished already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer.runs import cache_key
from trainer.runs.cache_key import run_key
from trainer.runs.plan import TrainResult
from trainer.tracking.errors import tracking_error

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset
    from trainer.runs.plan import Plan


def finished_runs(variants: Sequence[Variant], dataset: Dataset, plan: Plan) -> dict[int, TrainResult]:
    """Return the results that earlier runs of the experiment hold, by the variants' positions.

    A run counts when it is FINISHED and of the same identity: data, splits, seed, parameters, settings and code.

    Args:
        variants: What is to be trained.
        dataset: What it would be trained on.
        plan: Where runs are tracked, and what the variants have in common.

    Raises:
        TrackingError: The server fails.
    """
    from mlflow.exceptions import MlflowException

    wanted = [run_key(variant, dataset, plan.config) for variant in variants]
    try:
        found = {its: _latest(its, plan) for its in dict.fromkeys(wanted)}
    except MlflowException as error:
        raise tracking_error(error) from error
    return {
        place: run_result(variant, found[its], dataset, plan)
        for place, (variant, its) in enumerate(zip(variants, wanted, strict=True))
        if found[its] is not None
    }


def _latest(its: str, plan: Plan) -> Any:
    """Return the latest finished run of an identity, or None.

    A request for each: one for all would bring every run that was ever trained with the same data and code.
    """
    tracking = plan.destination.open()
    found = tracking.call(
        tracking.client.search_runs,
        [plan.destination.experiment_id],
        f"attributes.status = 'FINISHED' AND tags.`{cache_key.TAG}` = '{its}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def run_result(variant: Variant, run: Any, dataset: Dataset, plan: Plan, reused: bool = True) -> TrainResult:
    """Return the result that a finished run holds."""
    from trainer.runs.train import CURVE_TAG, FOLD, WARNINGS_TAG

    metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith(FOLD)}
    curve = run.data.tags.get(CURVE_TAG, "")
    return replace(
        plan.result(variant, run.info.run_id, dataset),
        metrics=metrics,
        iterations=int(metrics["iterations"]) if "iterations" in metrics else None,
        reused=reused,
        curve=tuple(float(precision) for precision in curve.split(",")) if curve else (),
        warnings=tuple(run.data.tags.get(WARNINGS_TAG, "").splitlines()),
    )
