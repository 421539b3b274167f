"""Trains several variants side by side, as nested runs of one parent run that carries the best one's metrics."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainer.config.variant import Variant
from trainer.runs.plan import TrainResult
from trainer.runs.run_config import run_config
from trainer.sweeps.comparison_files import Drawing
from trainer.sweeps.parent_run import (
    Comparison,
    Opening,
    create_parent,
    log_beginning,
    log_comparison,
    prepare,
)
from trainer.tracking.errors import tracking_errors
from trainer.tracking.inputs import described_inputs
from trainer.tracking.tags import SWEEP_TAG
from trainer.util.errors import SweepError
from trainer.util.signals import ignore_signals
from trainer.util.text import one_line

if TYPE_CHECKING:
    from trainer.config.parameter import Value
    from trainer.data.dataset import Dataset
    from trainer.parallel.engine import Engine
    from trainer.parallel.forked_call import ForkedCall
    from trainer.parallel.pool import TaskResult
    from trainer.parallel.progress import View
    from trainer.runs.plan import Plan
    from trainer.sweeps.tasks import VariantTask
    from trainer.tracking.client import Tracking
    from trainer.training.fit import FitResult

#: Imported once, before the variants' processes are forked; the second where runs go to a database without a server.
#: skops looks for the home of SciPy's functions in all modules, in the order in which they were imported.
PRELOAD = (
    "trainer.accelerators.lazy_modules",
    "trainer.accelerators.late_modules",
    "trainer.accelerators.garbage_collection",
    "trainer.accelerators.imports_first",
    "scipy.special",
    "trainer.accelerators.known_estimators",
    "trainer.runs.preload_fit",
    "trainer.parallel.spare_process",
    "trainer.runs.preload",
)
PRELOAD_EMBEDDED = ("trainer.runs.preload_database",)
TABLE = "variants.csv"


def sweep_preload(served: bool) -> tuple[str, ...]:
    """Return the modules that the variants' processes need.

    Args:
        served: Whether runs go to a server, and not to a database.
    """
    return PRELOAD if served else PRELOAD + PRELOAD_EMBEDDED


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep: its parent run, and the variants' results in the order in which they were given."""

    run_id: str
    url: str | None
    results: tuple[TrainResult, ...]

    @property
    def best(self) -> TrainResult | None:
        """The variant with the highest score, the earliest of equals; None where all failed. Baselines do not count."""
        finished = [result for result in self.results if result.status == "FINISHED" and not result.baseline]
        return max(finished, key=lambda result: result.score) if finished else None

    @property
    def baseline_warning(self) -> str | None:
        """A warning where the best variant is no better than a baseline; None where it is, or there is none."""
        baselines = [result for result in self.results if result.baseline and result.status == "FINISHED"]
        if self.best is None or not baselines:
            return None
        strongest = max(baselines, key=lambda result: result.score)
        if self.best.score > strongest.score:
            return None
        return f"the best variant, {self.best.name}, is no better than {strongest.name} by {self.best.metric}"

    @property
    def failed(self) -> list[TrainResult]:
        """The variants that failed."""
        return [result for result in self.results if result.error is not None]


def run_sweep(
    variants: Sequence[Variant],
    dataset: Dataset,
    plan: Plan,
    pool: Engine,
    *,
    name: str = "sweep",
    reused: Mapping[int, TrainResult] | None = None,
    on_result: Callable[[TrainResult, int], None] = lambda _result, _done: None,
    view: View | None = None,
    begun: Mapping[int, ForkedCall[FitResult]] = MappingProxyType({}),
) -> SweepResult:
    """Train the variants and track them; a variant that fails is reported, and the others finish.

    Args:
        variants: What to train.
        dataset: What to train on.
        plan: Where to track, and what the variants have in common.
        pool: Runs the variants.
        name: The parent run's name.
        reused: Results of earlier runs, by the variants' positions (see ``resume``): these are not trained again.
        on_result: Called with each result as it comes, and with how many there are so far.
        view: Shows the progress of those that run.
        begun: The processes on this machine that fit some variants already, by the variants' positions.

    Raises:
        SweepFailedError: Some variants failed; holds the result of the sweep.
        TrackingError: The parent run cannot be tracked.
    """
    from trainer.sweeps.tasks import SweepContext, VariantTask, train_variant

    tracking = plan.destination.open()
    tags = {**plan.tags, SWEEP_TAG: str(len(variants))}
    keys = [uuid.uuid4().hex for _ in variants]
    results: dict[int, TrainResult] = dict(reused or {})
    if results:
        tags["trainer.reused"] = str(len(results))
    # With the data's inputs, before the children: they would otherwise register the same data at the same moment.
    params, inputs = _parent_params(variants, dataset, plan), described_inputs(dataset)
    opening = Opening(plan.destination, uuid.uuid4().hex, name, tags, params, inputs)
    with tracking_errors(), tracking.begun(opening.key, lambda: create_parent(pool, opening)) as parent:
        try:
            log_beginning(pool, opening, parent.run_id)
            shared = SweepContext(dataset, replace(plan, parent=parent.run_id), view.address if view else None)
            items = [
                VariantTask(variants[index], keys[index], index, begun=begun.get(index))
                # What has begun holds a processor already: its run's process waits for it.
                for index in dict.fromkeys([*begun, *longest_first(variants)])
                if index not in results
            ]

            def again(item: VariantTask, reason: str) -> VariantTask:
                tracking.end_by_key(item.key, "FAILED", reason)
                keys.append((other := item.again()).key)
                return other

            prepare(pool)
            # Closing ends the processes, wherever in here an interrupt arrives.
            show = view.show if view is not None else None
            with closing(pool.map(train_variant, items, shared, again=again, show=show)) as outcomes:
                for outcome in outcomes:
                    result = finished_result(outcome, tracking)
                    results[outcome.item.index] = result
                    if view is not None:
                        view.end(outcome.item.index)
                    on_result(result, len(results))
            done = SweepResult(
                parent.run_id, plan.destination.run_url(parent.run_id), tuple(results[i] for i in range(len(variants)))
            )
            parent.handed_over = not done.failed
            log_comparison(pool, _comparison(done, variants, dataset, plan))
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with ignore_signals():
                # Stops at the first that the server does not answer for: it is gone.
                all(tracking.end_by_key(key, status) for key in keys)
            raise
        if done.failed:
            raise SweepFailedError(done)
    return done


def longest_first(variants: Sequence[Variant]) -> list[int]:
    """Return the variants' positions, in the order in which they are fitted: the longest would end alone otherwise."""
    return sorted(range(len(variants)), key=lambda index: -int(variants[index].params["n_estimators"] or 0))


def finished_result(outcome: TaskResult[VariantTask, TrainResult], tracking: Tracking) -> TrainResult:
    """Return a task's result, or the error of one that has none; then its run is ended too."""
    if outcome.answer is not None:
        return outcome.answer
    reason = one_line(outcome.error or "no answer")
    # Its process may have had no chance to do that itself.
    tracking.end_by_key(outcome.item.key, "FAILED", reason)
    variant = outcome.item.variant
    return TrainResult(name=variant.name, overrides=variant.overrides, error=reason, baseline=variant.baseline)


class SweepFailedError(SweepError):
    """Some variants of a sweep failed; ``result`` holds what came of all of them."""

    def __init__(self, result: SweepResult) -> None:
        self.result = result
        first = result.failed[0]
        count = f"{len(result.failed)} of {len(result.results)} variants failed"
        super().__init__(f"{count}; {first.name}: {first.error}")


def _parent_params(variants: Sequence[Variant], dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Return what all variants share, as the parent's parameters."""
    common = _common_params(variants)
    if "random_state" in common and common["random_state"] is None:
        common["random_state"] = plan.config.seed
    baselines = sum(variant.baseline for variant in variants)
    return {
        **common,
        "variants": len(variants) - baselines,
        **({"baselines": baselines} if baselines else {}),
        **plan.config.parameters(),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "target": dataset.target,
    }


def sweep_config(variants: Sequence[Variant], dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Return the options that repeat a sweep: what the variants share, and in what each differs."""
    common = _common_params(variants)
    own: list[dict[str, Any]] = []
    baselines = any(variant.baseline for variant in variants)
    for variant in variants:
        if variant.baseline:
            continue
        distinct = {name: value for name, value in variant.params.items() if name not in common and value is not None}
        own.append({"name": variant.name, **(distinct if variant.other is None else variant.other.options)})
    return {**run_config(common, dataset, plan), "variants": own, **({"baselines": True} if baselines else {})}


def _common_params(variants: Sequence[Variant]) -> dict[str, Value]:
    lightgbm = [variant.params for variant in variants if variant.other is None]
    first = lightgbm[0] if lightgbm else {}
    return {name: value for name, value in first.items() if all(params[name] == value for params in lightgbm)}


def _comparison(done: SweepResult, variants: Sequence[Variant], dataset: Dataset, plan: Plan) -> Comparison:
    """Return what the parent run holds in the end; it ends with that, unless a variant has failed."""
    best = done.best
    tags = {} if best is None else {"trainer.best_run_id": str(best.run_id), "trainer.best_variant": best.name}
    params = [None if one.other is not None else one.params for one in variants]
    subtitle = f"{dataset.name}, {plan.config.compared_on}"
    return Comparison(
        plan.destination,
        done.run_id,
        {} if best is None else best.metrics,
        tags,
        done.results,
        TABLE,
        "sweep",
        sweep_config(variants, dataset, plan),
        Drawing(list(zip(params, done.results, strict=True)), subtitle, plan.plot_style),
        end=not done.failed,
    )
