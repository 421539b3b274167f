"""Metrics of what is stored: bytes, runs and models of the largest experiments.

For these the whole storage is listed. So a thread does it, only where someone asks for the metrics, and the rarer the
longer it takes: at most a hundredth of the time, and once an hour at least.
"""

import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import cast

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from replica_server.artifacts.stored_objects import BackedUp
from replica_server.housekeeping.usage import Usage, Used, largest
from replica_server.text import one_line

# Seconds until the storage is listed again: at least, at most, as many times the seconds that it took, after a failure.
LEAST, MOST_SECONDS, TIMES, AGAIN = 60.0, 3600.0, 100, 300.0
# So many experiments have series of their own; the others are one.
MOST = 20
OTHERS, NOBODY = "(others)", "(no run, no model)"
# A longer name is cut.
WIDTH = 80
# What each metric is, and what it holds of `Used`.
METRICS = {
    "mlflow_experiment_bytes": ("bytes", "Bytes of artifacts, those of deleted runs and models included."),
    "mlflow_experiment_deleted_bytes": ("deleted_bytes", "Bytes of deleted runs and models, which gc frees."),
    "mlflow_experiment_runs": ("runs", "Runs that are not deleted."),
    "mlflow_experiment_models": ("models", "Logged models that are not deleted."),
}


def read(destination: str) -> Usage:
    """Returns the amounts of now."""
    engine = next(iter(SqlAlchemyStore._engine_map.values()))
    return Usage.read(engine, destination, cast("BackedUp", get_artifact_repository(destination)).objects())


def shown(usage: Usage) -> dict[str, Used]:
    """Returns the amounts by the names of the largest experiments, and those of the others together."""
    found: dict[str, Used] = {}
    for place, (name, used) in enumerate(largest(usage.experiments)):
        label = (name or NOBODY)[:WIDTH] if place < MOST else OTHERS
        known = found.setdefault(label, Used())
        for field, _ in METRICS.values():
            setattr(known, field, getattr(known, field) + getattr(used, field))
    return found


class UsageMetrics(Collector):
    """The collector of these metrics.

    Args:
        destination: The storage's address.
        look: Reads the amounts.
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(
        self, destination: str, look: Callable[[str], Usage] = read, clock: Callable[[], float] = time.time
    ) -> None:
        self._destination, self._look, self._clock = destination, look, clock
        self._next = 0.0
        self._found: list[Metric] = []
        self.reading: Thread | None = None

    def describe(self) -> Iterator[Metric]:
        """Yields nothing: the storage is not listed at the start."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics as they were found last, none at first; lets them be found anew where they are old."""
        found = self._found
        busy = self.reading is not None and self.reading.is_alive()
        if not busy and self._clock() >= self._next:
            self._next = self._clock() + LEAST
            self.reading = Thread(target=self._read, name="usage", daemon=True)
            self.reading.start()
        yield from found

    def _read(self) -> None:
        begin = self._clock()
        try:
            usage = self._look(self._destination)
        except Exception as error:  # noqa: BLE001 - each storage has errors of its own, and the server goes on
            self._next = self._clock() + AGAIN
            print(f"mlflow: what experiments have stored could not be read: {one_line(str(error))}", flush=True)
            return
        took = self._clock() - begin
        self._next = self._clock() + min(MOST_SECONDS, max(LEAST, TIMES * took))
        said = "When the figures of experiments were read."
        found: list[Metric] = [GaugeMetricFamily("mlflow_usage_timestamp_seconds", said, self._clock())]
        experiments = shown(usage)
        for metric, (field, text) in METRICS.items():
            family = GaugeMetricFamily(metric, text, labels=("experiment",))
            for name, used in experiments.items():
                family.add_metric((name,), getattr(used, field))
            found.append(family)
        self._found = found
