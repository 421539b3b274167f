"""`trainer serve` beside `mlflow models serve` as people start it, and beside the bare Booster in this process.

    .venv/bin/python -m tests.benchmark.serving [TREES]

The two servers take turns, request by request, so that whatever else the machine does meets both alike.
"""

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import uvloop
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.tracking.settings import configure
from trainer.training.fit import fit_variant
from trainer.training.model import save_model

from .load import at_rate, largest_rate

NAMES = OURS, THEIRS = ("trainer serve", "mlflow models serve")
BARE = "bare Booster"
CONNECTIONS = 64
JSON, CSV = "application/json", "text/csv"


def save(folder: Path, trees: int) -> Dataset:
    """Fits a variant on the made-up sessions and saves its model; returns the data."""
    dataset = load_data()
    fitted = fit_variant(make_variant({"n_estimators": trees}).params, dataset, seed=42, validation_size=0.2)
    save_model(fitted.model, dataset, folder, run_id="0" * 32, model_id="m-" + "0" * 32, location=str(folder))
    return dataset


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(name: str, folder: Path, first: bytes) -> Iterator[tuple[int, int, float]]:
    """Starts a server; yields its process, its port, and the seconds until it answered; ends it with its children."""
    port = free_port()
    ours = ["-m", "trainer", "serve", "--model", str(folder), "--port", str(port)]
    theirs = ["-m", "mlflow", "models", "serve", "-m", str(folder), "-p", str(port), "--env-manager", "local"]
    # It finds uvicorn on the PATH.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *(ours if name == OURS else theirs)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), first, JSON)
                break
            if time.perf_counter() - begin > 240 or process.poll() is not None:
                raise SystemExit(f"serving: error: {name} does not start")
            time.sleep(0.02)
        yield process.pid, port, time.perf_counter() - begin
    finally:
        # The whole session of its own: the command line's process, and the server that it started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)


def memory(session: int) -> float:
    """Returns the memory of all processes of a session in MiB, shared pages counted once."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                lines = (stat.parent / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def ask(connection: http.client.HTTPConnection, body: bytes, kind: str) -> None:
    """Sends a request and reads its answer; anew where the server has closed a connection that was idle for 5 s."""
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": kind})
        reply = connection.getresponse()
    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
        connection.close()
        connection.request("POST", "/invocations", body, {"Content-Type": kind})
        reply = connection.getresponse()
    content = reply.read()
    if reply.status != http.client.OK:
        raise SystemExit(f"serving: error: {reply.status} {content[:300]!r}")


def in_turns(calls: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Returns how long each of some calls takes, in ms; the first ones warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(count + 5):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if index >= 5:
                times[name].append(1000 * (time.perf_counter() - begin))
    return times


def show(what: str, ours: float, theirs: float, unit: str, places: int = 2) -> None:
    """Prints a measurement of both servers, and their ratio."""
    print(f"{what:<48} {ours:10,.{places}f} {theirs:10,.{places}f} {unit:<5} {ours / theirs:8.3f}", flush=True)


def as_json(table: pd.DataFrame) -> bytes:
    """Returns rows as a request."""
    return json.dumps({"dataframe_split": json.loads(table.to_json(orient="split"))}).encode()


def rows_in_turns(model: Any, table: pd.DataFrame, ports: dict[str, int]) -> None:
    """Prints what 1 and 1,000 rows take."""
    clients = {name: http.client.HTTPConnection("127.0.0.1", port, timeout=60) for name, port in ports.items()}
    encode, classify = model.estimator_.estimator.named_steps.values()
    for rows, count in ((1, 300), (1_000, 40)):
        part = table.head(rows)
        array, body, text = encode.transform(part).to_numpy(), as_json(part), part.to_csv(index=False).encode()
        calls: dict[str, Callable[[], object]] = {
            BARE: lambda array=array: classify.booster_.predict(array, num_threads=1),  # type: ignore[misc]
            **{name: lambda client=client, body=body: ask(client, body, JSON) for name, client in clients.items()},  # type: ignore[misc]
            # MLflow's own server reads no CSV for a signature that leaves the type of numbers open.
            "csv": lambda text=text: ask(clients[OURS], text, CSV),  # type: ignore[misc]
        }
        times = in_turns(calls, count)
        middle = {name: statistics.median(values) for name, values in times.items()}
        late = {name: statistics.quantiles(values, n=100)[98] for name, values in times.items()}
        show(f"{rows:,} rows as JSON, p50", middle[OURS], middle[THEIRS], "ms")
        show(f"{rows:,} rows as JSON, p99", late[OURS], late[THEIRS], "ms")
        show(f"{rows:,} rows as CSV, p50, beside its JSON", middle["csv"], middle[THEIRS], "ms")
        show(f"{rows:,} rows as JSON, p50, beside the {BARE}", middle[OURS], middle[BARE], "ms")
        show(f"{rows:,} rows as CSV, p50, beside the {BARE}", middle["csv"], middle[BARE], "ms")


def under_load(body: bytes, ports: dict[str, int]) -> None:
    """Prints the largest rate, and how long requests take at half of it."""
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    request, rates = head.encode() + body, {name: list[float]() for name in ports}
    for _ in range(3):
        for name, port in ports.items():
            rates[name].append(uvloop.run(largest_rate(port, request, CONNECTIONS, 5)))
    rate = {name: statistics.median(found) for name, found in rates.items()}
    show(f"{CONNECTIONS} connections, 1 row each", rate[OURS], rate[THEIRS], "/s", 0)
    for name, port in ports.items():
        times = uvloop.run(at_rate(port, request, CONNECTIONS, rate[name] / 2, 10))
        middle, late = 1000 * statistics.median(times), 1000 * statistics.quantiles(times, n=100)[98]
        print(f"{name} at {rate[name] / 2:,.0f} a second: p50 {middle:.2f} ms, p99 {late:.2f} ms ({late / middle:.1f})")


def main() -> None:
    """Measures and prints."""
    trees = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    configure()
    with tempfile.TemporaryDirectory(prefix="serving-") as name, contextlib.ExitStack() as running:
        folder = Path(name) / "model"
        dataset = save(folder, trees)
        table = dataset.test.features
        first = as_json(table.head(1))
        print(f"{trees} trees {'':<36} {'serve':>10} {'mlflow':>10}          ratio")
        starts: dict[str, list[float]] = {one: [] for one in NAMES}
        for _ in range(2):
            for one in NAMES:
                with serving(one, folder, first) as (_, _, taken):
                    starts[one].append(taken)
        servers = {one: running.enter_context(serving(one, folder, first)) for one in NAMES}
        for one in NAMES:
            starts[one].append(servers[one][2])
        show("started to first answer", statistics.median(starts[OURS]), statistics.median(starts[THEIRS]), "s")
        show("idle memory, all its processes", memory(servers[OURS][0]), memory(servers[THEIRS][0]), "MiB", 0)
        ports = {one: port for one, (_, port, _) in servers.items()}
        rows_in_turns(mlflow.sklearn.load_model(str(folder)), table, ports)
        under_load(first, ports)


if __name__ == "__main__":
    main()
