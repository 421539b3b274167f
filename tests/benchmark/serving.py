"""`trainer serve` beside `mlflow models serve` as people start it, and beside the same model in this process.

    .venv/bin/python tests/benchmark/serving.py [TREES]

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

import mlflow
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.tracking.settings import configure
from trainer.training.fit import fit_variant
from trainer.training.model import save_model

REQUESTS = {1: 400, 1_000: 60}
NAMES = ("trainer serve", "mlflow models serve")


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
def serving(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], http.client.HTTPConnection]]:
    """Starts a server, waits until it answers, and ends it with its children."""
    port = str(free_port())
    commands = {
        "trainer serve": ["-m", "trainer", "serve", "--model", str(folder), "--port", port],
        "mlflow models serve": [
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            str(folder),
            "-p",
            port,
            "--env-manager",
            "local",
        ],
    }
    # It finds uvicorn on the PATH.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [sys.executable, *commands[name]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            try:
                connection.request("GET", "/ping")
                reply = connection.getresponse()
                reply.read()
                if reply.status == http.client.OK:
                    break
            except OSError:
                pass
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"serving: error: {name} does not start")
            time.sleep(0.1)
        yield process, connection
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


def seconds(call: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def ask(connection: http.client.HTTPConnection, body: bytes) -> None:
    """Sends a request and reads its answer; anew where the server has closed a connection that was idle for 5 s."""
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
    except ConnectionError:
        connection.close()
        ask(connection, body)
        return
    content = reply.read()
    if reply.status != http.client.OK:
        raise SystemExit(f"serving: error: {reply.status} {content[:300]!r}")


def main() -> None:
    """Measures and prints."""
    trees = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    configure()
    with tempfile.TemporaryDirectory(prefix="serving-") as name, contextlib.ExitStack() as running:
        folder = Path(name) / "model"
        dataset = save(folder, trees)
        loaded = mlflow.pyfunc.load_model(str(folder))
        servers = {name: running.enter_context(serving(name, folder)) for name in NAMES}
        idle = {name: memory(process.pid) for name, (process, _) in servers.items()}
        print(f"{trees} trees; idle: " + ", ".join(f"{name} {value:.0f} MiB" for name, value in idle.items()), end="")
        print(f" (ratio {idle[NAMES[0]] / idle[NAMES[1]]:.2f}, allowed 0.7)")
        for rows, count in REQUESTS.items():
            table = dataset.test.features.head(rows)
            body = json.dumps({"dataframe_split": json.loads(table.to_json(orient="split"))}).encode()
            times: dict[str, list[float]] = {name: [] for name in ("in process", *NAMES)}
            for index in range(count + 5):
                for name in times:
                    taken = seconds(
                        (lambda: loaded.predict(table)) if name == "in process" else lambda: ask(servers[name][1], body)  # noqa: B023
                    )
                    # The first ones warm up.
                    if index >= 5:
                        times[name].append(taken)
            medians = {name: statistics.median(values) for name, values in times.items()}
            for name, values in times.items():
                late = statistics.quantiles(values, n=100)[98]
                print(
                    f"{rows:>5} rows, {name:<20} p50 {1000 * medians[name]:6.2f} ms  p99 {1000 * late:6.2f} ms "
                    f" {rows / medians[name]:>8,.0f} rows/s  {medians[name] / medians['in process']:.2f} of in process"
                )
            print(f"{rows:>5} rows: {medians[NAMES[0]] / medians[NAMES[1]]:.2f} of `mlflow models serve` (p50)")


if __name__ == "__main__":
    main()
