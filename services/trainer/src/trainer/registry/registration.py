"""Registers a run's model as a version, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config.task import TASKS
from trainer.parallel.engine import run_short_task
from trainer.registry.registry import Registration, Registry
from trainer.tracking.client import Destination
from trainer.tracking.errors import tracking_error
from trainer.util.errors import TrackingError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.parallel.engine import Engine
    from trainer.runs.plan import TrainResult


@dataclass(frozen=True)
class Candidate:
    """A run whose model is to be registered, with what its version says: plain data, for another process."""

    destination: Destination
    name: str
    run_id: str
    tags: Mapping[str, str]
    description: str


def register_best(
    destination: Destination,
    name: str,
    best: TrainResult,
    dataset: Dataset,
    *,
    chosen_by: str,
    parent: str | None = None,
    engine: Engine | None = None,
) -> Registration:
    """Register a run's model as a version, unless that has been done before.

    Args:
        destination: Where the run is tracked.
        name: The registered model's name; it is created where it does not exist.
        best: The run.
        dataset: What it was trained on and tested on.
        chosen_by: The name of the metric that it was chosen by.
        parent: The run of the sweep or search that it is the best of.
        engine: What it ran on: where that is other machines, one of them may register it.

    Raises:
        TrackingError: The registry cannot be reached, or refuses; the run is as it was.
    """
    candidate = Candidate(destination, name, str(best.run_id), *_about(best, dataset, chosen_by, parent))
    return run_short_task(engine, _register, candidate)


def _register(candidate: Candidate, _shared: None) -> Registration:
    from mlflow.exceptions import MlflowException

    registry = Registry(candidate.destination.uri, candidate.name)
    try:
        return registry.register(candidate.run_id, candidate.tags, candidate.description)
    except (MlflowException, TrackingError) as error:
        raise TrackingError(
            f"run {candidate.run_id} could not be registered as {candidate.name}: {tracking_error(error)};"
            " its run and model are kept: the same command again registers it"
        ) from error


def _about(best: TrainResult, dataset: Dataset, chosen_by: str, parent: str | None) -> tuple[dict[str, str], str]:
    """Return a version's tags and description."""
    metrics = {name: best.metrics[name] for name in TASKS[dataset.task].metrics if name in best.metrics}
    score = best.metrics.get(chosen_by)
    tags = {
        "trainer.run_id": str(best.run_id),
        "trainer.variant": one_line(best.name),
        "trainer.chosen_by": chosen_by,
        **({} if score is None else {f"trainer.{chosen_by}": repr(score)}),
        "trainer.data": dataset.name,
        "trainer.data_digest": dataset.digest,
        "trainer.test_digest": dataset.test_digest,
        "trainer.target": dataset.target,
        **({} if parent is None else {"trainer.parent_run_id": parent}),
        **{f"test.{metric}": repr(value) for metric, value in metrics.items()},
    }
    shown = ", ".join(f"{metric.replace('_', ' ')} {value:.4f}" for metric, value in metrics.items())
    best_of = "" if parent is None else f" Chosen by {chosen_by.replace('_', ' ')} {score or 0:.4f} in run {parent}."
    description = (
        f"{best.name}, trained on {dataset.name} ({dataset.train.rows:,} rows).{best_of}"
        f" On {dataset.test.rows:,} test rows: {shown}."
    )
    return tags, one_line(description, 4_000)
