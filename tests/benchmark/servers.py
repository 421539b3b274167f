"""Counts the requests that two servers answer beside one, and prints the ratio and what the processors did meanwhile.

    scripts/benchmark --servers [--seconds 20] [--rounds 2]

32 clients in four processes log metrics, alone and in batches, and upload artifacts of 100 kB, through the balancer of
compose.servers.yaml in both cases. The stack is one of its own, and removed afterwards. Clients and servers share this
machine's processors: a second server is worth something only where some are free.
"""

import argparse
import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("IMAGE_TAG", "local")

from tests.integration.load import ARTIFACTS, Client
from tests.integration.stack import STORAGE_SERVERS, Stack, wait_until

CLIENTS, PROCESSES = 32, 4
ARTIFACT = bytes(100_000)
SERVICES = ("mlflow", "edge", "postgres", STORAGE_SERVERS[-1])


@dataclass
class Measured:
    """What a round has shown.

    Attributes:
        requests: Answered with 200, a second.
        errors: The others.
        busy: Processors that each service kept busy, and the clients.
    """

    requests: float
    errors: int
    busy: dict[str, float]


def work(address: str, number: int, until: float) -> tuple[int, int]:
    """Lets one client work until a moment of the monotonic clock; returns its requests and how many of them failed."""
    client = Client(address, "0", number)
    run = client.post("/runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"]
    step = 0
    while time.monotonic() < until:
        step += 1
        client.post("/runs/log-metric", run_id=run, key="loss", value=step, timestamp=step, step=step)
        if step % 4 == 0:
            batch = [{"key": f"m{key}", "value": step, "timestamp": step, "step": step} for key in range(20)]
            client.post("/runs/log-batch", run_id=run, metrics=batch)
            client.ask("PUT", f"{ARTIFACTS}/0/{run}/artifacts/{step}.bin", ARTIFACT, "application/octet-stream")
    client.connection.close()
    return len(client.seconds), sum(client.errors.values())


def crowd(address: str, first: int, until: float) -> tuple[int, int, float]:
    """Lets one process's clients work; returns requests, failures and the seconds of the processor that it took."""
    with ThreadPoolExecutor(CLIENTS // PROCESSES) as pool:
        found = list(pool.map(lambda number: work(address, first + number, until), range(CLIENTS // PROCESSES)))
    return sum(one for one, _ in found), sum(failed for _, failed in found), time.process_time()


def processor(stack: Stack) -> dict[str, float]:
    """Returns the seconds of the processor that each service has taken so far."""
    taken = dict.fromkeys(SERVICES, 0.0)
    for container in stack.containers("com.docker.compose.oneoff=False"):
        if (service := container.labels["com.docker.compose.service"]) in taken and container.status == "running":
            figures = container.stats(stream=False)
            assert isinstance(figures, dict)  # not a stream
            taken[service] += figures["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    return taken


def measure(stack: Stack, seconds: float) -> Measured:
    """Returns what the clients get through in so many seconds."""
    address = urlsplit(stack.url).netloc
    before, begin = processor(stack), time.monotonic()
    until = begin + seconds
    tasks = [(address, number * CLIENTS // PROCESSES, until) for number in range(PROCESSES)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES, maxtasksperchild=1) as pool:
        found = pool.starmap(crowd, tasks, chunksize=1)
    took = time.monotonic() - begin
    after = processor(stack)
    busy = {service: (after[service] - before[service]) / took for service in SERVICES}
    busy["clients"] = sum(own for *_, own in found) / took
    return Measured(sum(one for one, *_ in found) / took, sum(failed for _, failed, _ in found), busy)


def scale(stack: Stack, servers: int) -> None:
    """Brings the stack to so many servers, which all get requests."""
    stack.up("--no-deps", "--no-recreate", "--scale", f"mlflow={servers}", "mlflow")
    wait_until(lambda: stack.exec("edge", "servers").count(" UP\n") == servers, f"{servers} get requests", 120)


def main() -> None:
    """Brings the stack up, measures, and removes it, also when it is told to end."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=20, help="of each round (default: 20)")
    arguments.add_argument("--rounds", type=int, default=2, help="with each number of servers (default: 2)")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="servers-")))
        stack = Stack(folder, files=("compose.servers.yaml",))
        ending.callback(stack.remove)
        stack.up()
        best: dict[int, Measured] = {}
        for _ in range(options.rounds):
            for servers in (1, 2):
                scale(stack, servers)
                found = measure(stack, options.seconds)
                if servers not in best or found.requests > best[servers].requests:
                    best[servers] = found
        print(f"{'processors kept busy':<24} {'1 server':>9} {'2 servers':>9}   of {os.cpu_count()}")
        for name in best[1].busy:
            print(f"{name:<24} {best[1].busy[name]:9.2f} {best[2].busy[name]:9.2f}")
        print(f"{'errors':<24} {best[1].errors:9d} {best[2].errors:9d}")
        ratio = best[2].requests / best[1].requests
        print(f"{'requests a second':<24} {best[1].requests:9.0f} {best[2].requests:9.0f}   {ratio:.2f}")


if __name__ == "__main__":
    main()
