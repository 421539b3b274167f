"""Metrics out of the database: runs by status, stale runs, champions, and when the last backup was."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text

# Seconds for which the metrics are taken for those of now: the database is not asked at each look.
KEPT = 20.0
# Seconds of silence after which a run is stale, as `trainer stale` has it by default.
SILENCE = 600
HEARTBEAT = "trainer.heartbeat"

RUNS = "SELECT status, count(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY status"
STALE = """
    SELECT count(*) FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = :key
    WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active' AND length(tags.value) BETWEEN 10 AND 11
    AND tags.value < :before
"""
CHAMPIONS = """
    SELECT aliases.name, aliases.version, versions.creation_time FROM registered_model_aliases AS aliases
    JOIN model_versions AS versions ON versions.name = aliases.name AND versions.version = aliases.version
    WHERE aliases.alias = 'champion' ORDER BY aliases.name LIMIT 100
"""
# scripts/backup leaves its time as the database's comment.
BACKUP = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
NOTE = re.compile(r"last backup: (\d{1,12})")


class DatabaseMetrics(Collector):
    """The collector of these metrics.

    Args:
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._next = 0.0
        self._found: list[Metric] = []

    def describe(self) -> Iterator[Metric]:
        """Yields nothing: the names are not asked of the database at the start."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics; of a database that fails, that it does and nothing else."""
        if self._clock() >= self._next:
            try:
                self._found = list(self._asked())
                self._found.append(_up(1))
            except sqlalchemy.exc.SQLAlchemyError:
                self._found = [_up(0)]
            self._next = self._clock() + KEPT
        yield from self._found

    def _asked(self) -> Iterator[Metric]:
        engine = next(iter(SqlAlchemyStore._engine_map.values()))
        with engine.connect() as connection:
            runs = GaugeMetricFamily("mlflow_runs", "Runs that are not deleted.", labels=("status",))
            for status, number in connection.execute(text(RUNS)):
                runs.add_metric((status,), number)
            yield runs
            before = str(int(self._clock()) - SILENCE)
            stale = connection.execute(text(STALE), {"key": HEARTBEAT, "before": before}).scalar_one()
            yield GaugeMetricFamily("mlflow_runs_stale", "Runs under way whose process fell silent.", stale)
            yield from _champions(connection.execute(text(CHAMPIONS)))
            if connection.dialect.name == "postgresql":
                yield from _backup(connection.execute(text(BACKUP)).scalar_one_or_none())


def _up(value: int) -> Metric:
    return GaugeMetricFamily("mlflow_database_up", "Whether the database answers the server.", value)


def _champions(rows: Any) -> Iterator[Metric]:
    version = GaugeMetricFamily("mlflow_champion_version", "The version that is champion.", labels=("model",))
    created = GaugeMetricFamily(
        "mlflow_champion_created_timestamp_seconds", "When the champion's version was made.", labels=("model",)
    )
    for name, number, milliseconds in rows:
        version.add_metric((name,), int(number))
        created.add_metric((name,), milliseconds / 1000)
    yield version
    yield created


def _backup(comment: str | None) -> Iterator[Metric]:
    if found := NOTE.search(comment or ""):
        said = "When scripts/backup last wrote a whole backup."
        yield GaugeMetricFamily("mlflow_last_backup_timestamp_seconds", said, int(found[1]))
