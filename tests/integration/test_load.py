"""Many clients at once lose nothing, and slow ones keep nobody waiting."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from .container_memory import MIB, watched
from .load import ARTIFACTS, Client, Result, idle, load, stalled_upload
from .stack import Stack, StackError, wait_until

SERVERS = ("mlflow", "postgres")


def new_experiment(stack: Stack, name: str) -> str:
    """Creates an experiment and returns its id."""
    body = {"name": f"{name} {time.time()}"}
    answer = requests.post(f"{stack.url}/api/2.0/mlflow/experiments/create", json=body, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["experiment_id"])


@contextmanager
def health_watched(stack: Stack) -> Iterator[set[str]]:
    """Collects what Docker says of the server's health during a `with` block."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.add(stack.health("mlflow"))

    thread = threading.Thread(target=look, name="health")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def check_all_is_there(stack: Stack, experiment: str, result: Result) -> None:
    """Compares what the server has acknowledged with what is in the database and in the storage."""
    runs = dict(stack.sql("SELECT run_uuid, name FROM runs WHERE experiment_id = %s", int(experiment)))
    assert runs == result.acknowledged("runs")
    for table in ("metrics", "params", "tags"):
        rows = stack.sql(
            f"SELECT run_uuid, count(*) FROM {table} WHERE run_uuid = ANY(%s) AND key <> %s GROUP BY 1",  # noqa: S608
            list(runs),
            "mlflow.runName",
        )
        assert dict(rows) == result.acknowledged(table), table
    models = result.acknowledged("versions")
    rows = stack.sql("SELECT name, count(*) FROM model_versions WHERE name = ANY(%s) GROUP BY 1", list(models))
    assert dict(rows) == models
    assert set(result.acknowledged("artifacts")) <= stack.object_names(f"{experiment}/")


def run_load(stack: Stack, clients: int, seconds: float, say: Any) -> None:
    """Puts a load on the server, and checks that nothing failed, nothing is lost and everything stayed healthy."""
    stack.wait_healthy(*SERVERS)
    experiment = new_experiment(stack, f"load of {clients}")
    mlflow, postgres = (stack.container(name) for name in SERVERS)
    # A test before this one may have killed a server.
    started = {name: stack.container(name).attrs["RestartCount"] for name in SERVERS}
    with watched(mlflow, 0.5) as server, watched(postgres, 0.5) as database, health_watched(stack) as health:
        result = load(stack.url, experiment, clients, seconds)
        connections = stack.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")[0][0]
    times = result.seconds
    say(
        f"\n{clients} clients, {seconds:g} s: {len(times)} requests, {sum(result.errors.values())} errors,"
        f" p50 {times[len(times) // 2]:.2f} s, p99 {times[len(times) * 99 // 100]:.2f} s, longest {times[-1]:.2f} s;"
        f" at most {server.peak // MIB} MiB (server) and {database.peak // MIB} MiB (PostgreSQL);"
        f" {connections} connections, health {sorted(health)}"
    )
    assert result.errors == Counter()
    check_all_is_there(stack, experiment, result)
    assert health == {"healthy"}
    assert {name: stack.container(name).attrs["RestartCount"] for name in SERVERS} == started


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Prints figures in each run, not only in one that fails: the documentation refers to them."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(text)

    return write


def test_64_clients_lose_nothing(crash_stack: Stack, say: Any) -> None:
    run_load(crash_stack, 64, 12, say)


@pytest.mark.parametrize("clients", [64, 200])
@pytest.mark.parametrize("others", ["alone", "beside stalled uploads and idle connections"])
def test_a_minute_of_load(
    crash_stack: Stack, say: Any, clients: int, others: str, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--load"):
        pytest.skip("takes five minutes (--load)")
    if others == "alone":
        run_load(crash_stack, clients, 60, say)
        return
    with idle(crash_stack.url, 16, stalled_upload(5_000_000, 100_000)), idle(crash_stack.url, 100):
        run_load(crash_stack, clients, 60, say)


@pytest.mark.parametrize("sent", [1, 100_000, 2_000_000], ids=["one byte", "some", "a third"])
def test_stalled_uploads_keep_nobody_waiting(crash_stack: Stack, sent: int) -> None:
    address = f"{crash_stack.url}{ARTIFACTS}/stalls/good-{sent}"
    with idle(crash_stack.url, 20, stalled_upload(6_000_000, sent)):
        begin = time.monotonic()
        assert requests.put(f"{address}.txt", data=b"x" * 1000, timeout=60).status_code == 200
        # A large one may have to wait until one of those that stall is taken to do so.
        assert requests.put(f"{address}.bin", data=bytes(6_000_000), timeout=60).status_code == 200
        assert time.monotonic() - begin < 60
    assert requests.get(f"{address}.bin", timeout=60).content == bytes(6_000_000)


def test_downloads_that_are_not_read_end(crash_stack: Stack) -> None:
    path = f"{ARTIFACTS}/stalls/large.bin"
    assert requests.put(crash_stack.url + path, data=bytes(40_000_000), timeout=60).status_code == 200
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with idle(crash_stack.url, 40, request):
        begin = time.monotonic()
        assert len(requests.get(crash_stack.url + path, timeout=60).content) == 40_000_000
        assert time.monotonic() - begin < 45
    crash_stack.wait_healthy("mlflow")


def test_slow_bodies_hold_no_thread(crash_stack: Stack) -> None:
    head = "POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    slow = f'{head}Content-Length: 100000\r\n\r\n{{"experiment_id": "'.encode()
    with idle(crash_stack.url, 60, slow):
        begin = time.monotonic()
        client = Client(urlsplit(crash_stack.url).netloc, "0", 0)
        assert client.post("/runs/search", experiment_ids=["0"], max_results=1) is not None, client.errors
        assert time.monotonic() - begin < 20


def test_idle_connections_cost_little(crash_stack: Stack) -> None:
    crash_stack.wait_healthy("mlflow")
    with watched(crash_stack.container("mlflow"), 0.5) as server, idle(crash_stack.url, 1000):
        for _ in range(5):
            assert requests.get(f"{crash_stack.url}/api/2.0/mlflow/experiments/search?max_results=1", timeout=10).ok
    assert server.growth < 60 * MIB


def test_demo_beside_eight_loggers(crash_stack: Stack) -> None:
    """The UI's "Start demo" makes its experiment within the limit of threads, and others notice nothing of it."""
    crash_stack.wait_healthy(*SERVERS)
    experiment = new_experiment(crash_stack, "beside the demo")
    results: list[Result] = []
    loggers = threading.Thread(target=lambda: results.append(load(crash_stack.url, experiment, 8, 20)))
    loggers.start()
    demo = f"{crash_stack.url}/ajax-api/3.0/mlflow/demo"
    try:
        answer = requests.post(f"{demo}/generate", json={}, timeout=240)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "created"
        assert "traces" in answer.json()["features_generated"]
    finally:
        loggers.join()
        requests.post(f"{demo}/delete", json={}, timeout=240)
    assert results[0].errors == Counter()
    check_all_is_there(crash_stack, experiment, results[0])


def test_server_nobody_reaches_is_unhealthy(crash_stack: Stack) -> None:
    """All workers wait for a row that someone else keeps locked: the check is not answered either."""
    crash_stack.wait_healthy(*SERVERS)
    experiment = new_experiment(crash_stack, "locked")
    created = Client(urlsplit(crash_stack.url).netloc, experiment, 0).post("/runs/create", experiment_id=experiment)
    run = created["run"]["info"]["run_id"]
    wait = "BEGIN; LOCK TABLE params IN EXCLUSIVE MODE; SELECT pg_sleep(120)"

    def hold() -> None:
        # It ends by being ended.
        with suppress(StackError):
            crash_stack.sql(wait)

    lock = threading.Thread(target=hold)
    lock.start()
    wait_until(
        lambda: crash_stack.sql(
            "SELECT 1 FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'params'::regclass"
        ),
        "the table is locked",
    )
    body = {"run_id": run, "key": "p", "value": "1"}
    url = f"{crash_stack.url}/api/2.0/mlflow/runs/log-parameter"
    clients = [threading.Thread(target=requests.post, args=(url,), kwargs={"json": body}) for _ in range(40)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: crash_stack.health("mlflow") == "unhealthy", "the server is unhealthy", 90)
    finally:
        crash_stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = %s", wait)
        lock.join()
    for client in clients:
        client.join()
    crash_stack.wait_healthy("mlflow")
