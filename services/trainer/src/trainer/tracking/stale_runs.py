"""Finds runs that died with their machine, and marks them FAILED: a process that is gone cannot end its run itself.

A run is stale when its heartbeat (a tag that its process renews each minute) is old, and stays as it is while it is
looked at twice. The second look is for machines whose clocks are wrong. Runs without a heartbeat, of other programs or
of an older trainer, are left alone, unless a maximum age is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainer.tracking.paging import pages
from trainer.tracking.tags import FAILURE_TAG, HEARTBEAT_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Experiments that one search asks for.
_EXPERIMENTS = 100


@dataclass(frozen=True)
class Limits:
    """How long a run may be silent, and how old a run without a heartbeat may be (None: any age), in seconds."""

    silence: float = 600.0
    max_age: float | None = None


@dataclass(frozen=True)
class StaleRun:
    """A run whose process is taken to be gone, with its last sign of life (None: it never gave one) and the reason."""

    run_id: str
    name: str
    experiment_id: str
    heartbeat: int | None
    reason: str

    def shown(self) -> dict[str, Any]:
        """Return this as plain values."""
        return asdict(self)


def find_stale(client: MlflowClient, limits: Limits, now: float) -> list[StaleRun]:
    """Return the stale runs of all experiments, as they look now.

    Args:
        client: MLflow's.
        limits: See ``Limits``.
        now: This moment, in seconds since 1970.

    Raises:
        MlflowException: The server fails.
    """
    return [stale for run in _running(client) if (stale := judged(run, limits, now)) is not None]


def confirmed(client: MlflowClient, before: list[StaleRun], limits: Limits, now: float) -> list[StaleRun]:
    """Return those of the runs that are still running, and have given no sign of life since.

    Raises:
        MlflowException: The server fails.
    """
    again = {stale.run_id: stale for stale in find_stale(client, limits, now)} if before else {}
    return [again[one.run_id] for one in before if one.run_id in again and again[one.run_id].heartbeat == one.heartbeat]


def judged(run: Any, limits: Limits, now: float) -> StaleRun | None:
    """Return a running run as a stale one, or None where it is none."""
    heartbeat = _seconds(run.data.tags.get(HEARTBEAT_TAG))
    if heartbeat is not None:
        silent = now - heartbeat
        if silent < limits.silence:
            return None
        reason = f"no sign of life for {_duration(silent)}, since {_date(heartbeat)}"
    else:
        age = now - run.info.start_time / 1000
        if limits.max_age is None or age < limits.max_age:
            return None
        reason = f"running for {_duration(age)}, without a heartbeat"
    return StaleRun(run.info.run_id, run.info.run_name or "", run.info.experiment_id, heartbeat, reason)


def mark_failed(client: MlflowClient, stale: StaleRun, now: float) -> None:
    """Mark a run FAILED, with the reason as the tag ``failure_reason``; it ended when it was last known to live.

    Raises:
        MlflowException: The server fails.
    """
    # The reason first: whoever sees the status finds it.
    client.set_tag(stale.run_id, FAILURE_TAG, f"marked as failed: {stale.reason}", synchronous=True)
    client.set_terminated(stale.run_id, "FAILED", end_time=int((stale.heartbeat or now) * 1000))


def look(
    client: MlflowClient,
    limits: Limits,
    *,
    confirm: float,
    dry_run: bool,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> list[StaleRun]:
    """Find the stale runs and mark them; return them.

    Args:
        client: MLflow's.
        limits: See ``Limits``.
        confirm: Seconds between the two looks; longer than a heartbeat's interval.
        dry_run: Mark none, and look once.
        clock: Tells the time, in seconds since 1970.
        pause: Waits for so many seconds.

    Raises:
        MlflowException: The server fails.
    """
    found = find_stale(client, limits, clock())
    if dry_run or not found:
        return found
    pause(confirm)
    found = confirmed(client, found, limits, clock())
    for stale in found:
        mark_failed(client, stale, clock())
    return found


def _running(client: MlflowClient) -> Iterator[Any]:
    ids = [experiment.experiment_id for experiment in pages(client.search_experiments)]
    for place in range(0, len(ids), _EXPERIMENTS):
        yield from pages(client.search_runs, ids[place : place + _EXPERIMENTS], "attributes.status = 'RUNNING'")


def _seconds(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else None


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
