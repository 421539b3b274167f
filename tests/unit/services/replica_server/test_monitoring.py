"""services/mlflow: monitoring/: requests by route and status, gauges, and their port."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from prometheus_client import CollectorRegistry
from replica_server.artifacts import incoming
from replica_server.housekeeping.usage import Usage
from replica_server.monitoring import database_metrics, gauges, port, usage_metrics
from replica_server.monitoring.request_metrics import RequestMetrics
from replica_server.monitoring.route_templates import OTHER, RouteTemplates
from replica_server.requests import routes
from starlette.types import Message, Scope
from trainer.tracking.stale_runs import Limits
from trainer.tracking.tags import HEARTBEAT_TAG

from .test_routes import filled, loaded

PATHS = ("/api/runs/get", "/api/artifacts/<path:artifact_path>", "/api/models/{model_id}", "/api/models/search")


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/runs/get", "/api/runs/get"),
        ("/api/artifacts/1/a b/c.txt", "/api/artifacts/{artifact_path}"),
        ("/api/models/m-1", "/api/models/{model_id}"),
        ("/api/models/search", "/api/models/search"),
        ("/api/models/m-1/more", OTHER),
        ("/api/artifacts/", OTHER),
        ("/favicon.ico", OTHER),
        ("", OTHER),
    ],
)
def test_path_has_its_routes_template(path: str, template: str) -> None:
    assert RouteTemplates(PATHS).of(path) == template


def test_each_route_of_mlflow_has_a_template() -> None:
    """None is taken for another one that has more text of its own."""
    found = loaded()
    templates = RouteTemplates(found)
    assert [path for path in found if templates.of(filled(path)) == OTHER] == []
    plain = [path for path in found if filled(path) == path]
    assert [path for path in plain if templates.of(path) != path] == []


def served(
    registry: CollectorRegistry, path: str, method: str = "GET", status: int = 200, fails: bool = False
) -> list[Message]:
    """Returns what an application that is counted sends for a request."""
    sent: list[Message] = []

    async def application(_scope: Scope, _receive: Any, send: Any) -> None:
        if fails:
            raise ConnectionError("the client has gone")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    counted = RequestMetrics(application, RouteTemplates(PATHS), registry)
    asyncio.run(counted({"type": "http", "method": method, "path": path}, receive, send))
    return sent


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("method", "counted_as", "status"), [("GET", "GET", 200), ("POST", "POST", 503), ("BREW", "other", 405)]
)
def test_request_is_counted_by_route_and_status(method: str, counted_as: str, status: int) -> None:
    registry = CollectorRegistry()
    sent = served(registry, "/api/models/m-1", method, status)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    route = "/api/models/{model_id}"
    labels = {"method": counted_as, "route": route, "status": str(status)}
    assert value(registry, "mlflow_http_requests_total", **labels) == 1
    assert value(registry, "mlflow_http_request_seconds_count", route=route) == 1
    assert value(registry, "mlflow_http_request_seconds_bucket", route=route, le="+Inf") == 1
    assert value(registry, "mlflow_http_requests_under_way") == 0


def test_request_without_an_answer_is_counted() -> None:
    registry = CollectorRegistry()
    with pytest.raises(ConnectionError):
        served(registry, "/api/runs/get", fails=True)
    assert value(registry, "mlflow_http_requests_total", method="GET", route="/api/runs/get", status="none") == 1
    assert value(registry, "mlflow_http_requests_under_way") == 0


def test_uploads_under_way_and_waiting_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    registry.register(gauges.Gauges(12))

    def seen(name: str) -> float | None:
        return value(registry, f"mlflow_artifacts_{name}", direction="upload", size="large")

    async def hold() -> None:
        places = int(seen("places") or 0)
        go = asyncio.Event()

        async def upload() -> None:
            async with incoming.LARGE_UPLOADS.hold():
                await go.wait()

        uploads = [asyncio.create_task(upload()) for _ in range(places + 1)]
        await asyncio.sleep(0)
        assert (seen("under_way"), seen("waiting")) == (places, 1)
        go.set()
        await asyncio.gather(*uploads)

    asyncio.run(hold())
    assert (seen("under_way"), seen("waiting")) == (0, 0)


def test_pool_and_disk_are_seen() -> None:
    registry = CollectorRegistry()
    registry.register(gauges.Gauges(12))
    assert value(registry, "mlflow_database_connections", state="in use") is not None
    assert value(registry, "mlflow_database_connections_limit") == 49
    total, free = value(registry, "mlflow_disk_bytes"), value(registry, "mlflow_disk_free_bytes")
    assert total is not None
    assert free is not None
    assert 0 < free <= total


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The number of a port with the metrics of a process."""
    monkeypatch.setattr(port.Handler, "timeout", 0.2)
    server = port.open_port(port.new_registry(), 0)
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_silent_client_keeps_nobody_from_the_metrics(start: int) -> None:
    with socket.create_connection(("127.0.0.1", start)), socket.create_connection(("127.0.0.1", start)) as half:
        half.sendall(b"GET /metrics HTTP/1.1\r\n")
        with urllib.request.urlopen(f"http://127.0.0.1:{start}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    assert "process_resident_memory_bytes" in text
    assert "python_info" in text


def test_metrics_are_not_among_mlflows_routes() -> None:
    """The published port answers for MLflow alone."""
    assert "/metrics" not in loaded()
    assert routes.group("/metrics") is None


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_database: Callable[[Path], str]) -> Any:
    """A store of MLflow's on a database in a file."""
    monkeypatch.setattr(SqlAlchemyStore, "_engine_map", {})
    return SqlAlchemyStore(new_database(tmp_path), str(tmp_path))  # type: ignore[no-untyped-call]


def test_runs_and_champions_are_seen(stores: Any, tmp_path: Path) -> None:
    now = 1_800_000_000

    def begin(heartbeat: int | None, status: str = "RUNNING") -> None:
        tags = [] if heartbeat is None else [RunTag(database_metrics.HEARTBEAT, str(heartbeat))]
        run = stores.create_run("0", "u", 0, tags, "r")
        if status != "RUNNING":
            stores.update_run_info(run.info.run_id, RunStatus.from_string(status), 1, "r")

    for heartbeat, status in (
        (now - 900, "RUNNING"),
        (now - 30, "RUNNING"),
        (None, "RUNNING"),
        (now - 900, "FINISHED"),
    ):
        begin(heartbeat, status)
    registry: Any = Registry(f"sqlite:///{tmp_path}/mlflow.db")  # type: ignore[no-untyped-call]
    registry.create_registered_model("m")
    for _ in range(2):
        registry.create_model_version("m", "file:///nowhere")
    registry.set_registered_model_alias("m", "champion", "2")
    registry.set_registered_model_alias("m", "other", "1")
    metrics = CollectorRegistry()
    metrics.register(database_metrics.DatabaseMetrics(lambda: now))
    assert value(metrics, "mlflow_runs", status="RUNNING") == 3
    assert value(metrics, "mlflow_runs", status="FINISHED") == 1
    assert value(metrics, "mlflow_runs_stale") == 1
    assert value(metrics, "mlflow_champion_version", model="m") == 2
    assert (value(metrics, "mlflow_champion_created_timestamp_seconds", model="m") or 0) > 1_700_000_000
    assert value(metrics, "mlflow_database_up") == 1
    assert value(metrics, "mlflow_last_backup_timestamp_seconds") is None


def test_database_that_fails_is_seen_as_such(stores: Any, tmp_path: Path) -> None:
    """The other metrics stay; the database is asked again once the figures are old."""
    now = [100.0]
    metrics = CollectorRegistry()
    metrics.register(database_metrics.DatabaseMetrics(lambda: now[0]))
    assert value(metrics, "mlflow_database_up") == 1
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("DROP TABLE registered_model_aliases")
    assert value(metrics, "mlflow_database_up") == 1
    now[0] += database_metrics.KEPT
    assert value(metrics, "mlflow_database_up") == 0
    assert value(metrics, "mlflow_runs", status="RUNNING") is None


@pytest.mark.parametrize(
    ("comment", "seconds"),
    [("last backup: 1800000000", 1_800_000_000), ("x; last backup: 17", 17), (None, None), ("last backup: soon", None)],
)
def test_last_backup_is_the_databases_comment(comment: str | None, seconds: int | None) -> None:
    found = [metric.samples[0].value for metric in database_metrics._backup(comment)]
    assert found == ([] if seconds is None else [seconds])


def usage_of(**sizes: int) -> Usage:
    """Returns the figures of experiments that have stored so many bytes, each in one run."""
    usage = Usage()
    for name, size in sizes.items():
        usage._count(name, "someone", size, True, runs=1)
    return usage


def test_largest_experiments_are_seen() -> None:
    """The others are one series, and so are names that are cut to the same: Prometheus takes none twice."""
    sizes = {f"e{number:03}": 1000 - number for number in range(usage_metrics.MOST + 5)}
    looks: list[str] = []

    def look(destination: str) -> Usage:
        looks.append(destination)
        return usage_of(**sizes, **{"x" * 100 + end: 5000 for end in "ab"}, **{"": 7000})

    now = [100.0]
    stored = usage_metrics.UsageMetrics("s3://mlflow/", look, lambda: now[0])
    registry = CollectorRegistry()
    registry.register(stored)
    assert value(registry, "mlflow_usage_timestamp_seconds") is None
    assert stored.reading
    stored.reading.join()
    assert value(registry, "mlflow_experiment_bytes", experiment="e000") == 1000
    assert value(registry, "mlflow_experiment_bytes", experiment="x" * 80) == 10_000
    assert value(registry, "mlflow_experiment_bytes", experiment=usage_metrics.NOBODY) == 7000
    assert value(registry, "mlflow_experiment_runs", experiment=usage_metrics.OTHERS) == 8
    (family,) = [one for one in registry.collect() if one.name == "mlflow_experiment_bytes"]
    assert len({sample.labels["experiment"] for sample in family.samples}) == len(family.samples) == 20
    assert looks == ["s3://mlflow/"]
    now[0] += usage_metrics.LEAST - 1
    list(stored.collect())
    stored.reading.join()
    assert len(looks) == 1
    now[0] += 1
    assert value(registry, "mlflow_usage_timestamp_seconds") is not None
    stored.reading.join()
    assert value(registry, "mlflow_usage_timestamp_seconds") == now[0]
    assert len(looks) == 2


@pytest.mark.parametrize(("took", "pause"), [(0.1, 60), (2, 200), (100, 3600)])
def test_slow_storage_is_listed_rarely(took: float, pause: float) -> None:
    """A hundredth of the time at most, and once an hour at least."""
    now, looks = [100.0], 0

    def look(_: str) -> Usage:
        nonlocal looks
        looks += 1
        now[0] += took
        return usage_of(e=1)

    stored = usage_metrics.UsageMetrics("s3://mlflow/", look, lambda: now[0])
    for wait, wanted in ((0, 1), (pause - 1, 1), (1, 2)):
        now[0] += wait
        list(stored.collect())
        assert stored.reading
        stored.reading.join()
        assert looks == wanted


def test_storage_that_fails_keeps_the_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    answers: Iterator[Usage | Exception] = iter([usage_of(e=10), MlflowException("no\nanswer")])

    def look(_: str) -> Usage:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    now = [100.0]
    stored = usage_metrics.UsageMetrics("s3://mlflow/", look, lambda: now[0])
    for _ in range(2):
        list(stored.collect())
        assert stored.reading
        stored.reading.join()
        now[0] += usage_metrics.LEAST
    assert [metric.samples[0].value for metric in stored._found] == [100.0, 10, 0, 1, 0]
    assert capsys.readouterr().out.count("\n") == 1


def test_heartbeat_is_the_trainers() -> None:
    assert (HEARTBEAT_TAG, Limits().silence) == (database_metrics.HEARTBEAT, database_metrics.SILENCE)
