"""The gauges: looked up when Prometheus asks for the metrics, so that they cost no request anything."""

import shutil
import tempfile
from collections.abc import Iterator

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import QueuePool

from replica_server import limits
from replica_server.artifacts import incoming, outgoing

TRANSFERS = {
    ("upload", "small"): (incoming.SMALL_UPLOADS, limits.SMALL_UPLOADS),
    ("upload", "large"): (incoming.LARGE_UPLOADS, limits.LARGE_UPLOADS),
    ("download", "any"): (outgoing.DOWNLOADS, limits.DOWNLOADS),
}


class Gauges(Collector):
    """The collector of the gauges.

    Args:
        workers: How many requests MLflow works on at a time.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics."""
        yield from self._transfers()
        yield from self._database()
        yield from self._disk()

    def _transfers(self) -> Iterator[Metric]:
        labels = ("direction", "size")
        said = {
            "under_way": "Artifacts that pass through the server now.",
            "waiting": "Artifacts whose request waits for a place.",
            "places": "How many artifacts can pass through the server at a time.",
        }
        families = {
            name: GaugeMetricFamily(f"mlflow_artifacts_{name}", text, labels=labels) for name, text in said.items()
        }
        for kind, (transfers, most) in TRANSFERS.items():
            families["under_way"].add_metric(kind, transfers.held)
            families["waiting"].add_metric(kind, transfers.waiting)
            families["places"].add_metric(kind, most)
        yield from families.values()

    def _database(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "mlflow_database_connections", "The server's connections to the database.", labels=("state",)
        )
        pools = [engine.pool for engine in list(SqlAlchemyStore._engine_map.values())]
        queues = [pool for pool in pools if isinstance(pool, QueuePool)]
        family.add_metric(("in use",), sum(pool.checkedout() for pool in queues))
        family.add_metric(("idle",), sum(pool.checkedin() for pool in queues))
        yield family
        most = "The most connections to the database that the server opens."
        yield GaugeMetricFamily("mlflow_database_connections_limit", most, limits.pool(self.workers))

    def _disk(self) -> Iterator[Metric]:
        disk = shutil.disk_usage(tempfile.gettempdir())
        place = "the disk with the server's temporary files, which is the one of the stack's volumes"
        yield GaugeMetricFamily("mlflow_disk_bytes", f"The size of {place}.", disk.total)
        yield GaugeMetricFamily("mlflow_disk_free_bytes", f"What is free of {place}.", disk.free)
