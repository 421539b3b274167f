"""`create_run` and `log_batch` of 1,000 metrics with 1, 8 and 32 clients, beside a default `mlflow server`.

    scripts/benchmark --tracking [--rounds 3] [--seconds 4] [--clients 1,8,32] [--calls create_run,…]

Both servers stand on the same PostgreSQL and take turns, so that a slow moment of the machine hits both alike. Each
client has a run of its own. The rates and the times are medians of the rounds. The processor time, of the server's
container and of PostgreSQL's together, says the same on a busy machine.
"""

import argparse
import json
import statistics
import subprocess
from typing import Any, NamedTuple

import docker

from .benchmark import ENVIRONMENT, HERE, PROJECT, ROOT, STACK, compose, stack

SERVERS = OURS, DEFAULT = ("mlflow", "mlflow-default")
#: What each call is in the table.
CALLS = {
    "create_run": "create_run",
    "log_batch-4": "log_batch, 250 values of 4 metrics",
    "log_batch-1000": "log_batch, 1 value of 1,000 metrics",
}
ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("--rounds", type=int, default=3)
ARGUMENTS.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default: 4)")
ARGUMENTS.add_argument("--clients", default="1,8,32")
ARGUMENTS.add_argument("--calls", default=",".join(CALLS))
ARGUMENTS.add_argument("--keep", action="store_true", help="leave the stack running")


class Found(NamedTuple):
    """What one measurement found."""

    rate: float
    p50: float
    refused: float
    #: Milliseconds of the processor a request.
    processor: float


class Caller:
    """The process in the trainer's container that sends the requests."""

    def __init__(self) -> None:
        files = ["--file", str(ROOT / "compose.yaml"), "--file", str(HERE / "compose.yaml")]
        place = ["--project-name", PROJECT, "--project-directory", str(ROOT), *files]
        script = "/benchmark/tracking_calls.py"
        mount = ["--volume", f"{HERE}:/benchmark:ro", "--entrypoint", "python3"]
        self._process = subprocess.Popen(
            ["docker", "compose", *place, "run", "--rm", "--no-deps", "-T", *mount, "trainer", script],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: object) -> Any:
        """Returns what one measurement found."""
        assert self._process.stdin
        assert self._process.stdout
        print(*words, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("tracking: error: the requests failed")
        return json.loads(line)

    def end(self) -> None:
        """Ends the process, and its container."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def processor(*services: str) -> float:
    """Returns the processor time of some services' containers so far, in ms."""
    client = docker.from_env()
    total = 0.0
    for service in services:
        labels = [f"com.docker.compose.project={PROJECT}", f"com.docker.compose.service={service}"]
        (container,) = client.containers.list(filters={"label": labels})
        api: Any = client.api
        total += api.stats(container.id, stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]["total_usage"]
    return total / 1e6


def measure(caller: Caller, server: str, call: str, clients: int, seconds: float) -> Found:
    """Returns what one measurement found."""
    before = processor(server, "postgres")
    found = caller.ask(f"http://{server}:5000", call, clients, seconds)
    used = processor(server, "postgres") - before
    return Found(found["rate"], found["p50"], found["refused"], used / max(found["answered"], 1))


def row(call: str, clients: int, rounds: dict[str, list[Found]]) -> str:
    """Returns a row of the table."""
    middle = {name: Found(*map(statistics.median, zip(*found, strict=True))) for name, found in rounds.items()}
    ours, default = (middle[name] for name in SERVERS)
    refused = "".join(
        f"  {name}: {sum(one.refused for one in found):.0f} not answered"
        for name, found in rounds.items()
        if any(one.refused for one in found)
    )
    return (
        f"{CALLS[call]:<36} {clients:>4}"
        f" {ours.rate:>8.1f} {default.rate:>8.1f} {ours.rate / default.rate:>6.2f}"
        f" {ours.p50:>8.1f} {default.p50:>8.1f} {ours.p50 / default.p50:>6.2f}"
        f" {ours.processor:>8.1f} {default.processor:>8.1f} {ours.processor / default.processor:>6.2f}{refused}"
    )


def main() -> None:
    """Measures and prints."""
    options = ARGUMENTS.parse_args()
    compose("--profile", "minio", "--profile", "trainer", "build")
    with stack(options.keep):
        compose("up", "--detach", "--wait", *STACK, DEFAULT)
        caller = Caller()
        print(f"{'':<36} {'':>4} {'requests a second':>24} {'p50, ms':>24} {'processor, ms a request':>24}")
        print(f"{'':<36} {'of':>4}" + f" {'stack':>8} {'default':>8} {'ratio':>6}" * 3)
        for call in options.calls.split(","):
            for clients in map(int, options.clients.split(",")):
                rounds: dict[str, list[Found]] = {name: [] for name in SERVERS}
                # Connections, caches, and the workers' first requests.
                for name in SERVERS:
                    measure(caller, name, call, clients, 1.0)
                for _ in range(options.rounds):
                    for name in SERVERS:
                        rounds[name].append(measure(caller, name, call, clients, options.seconds))
                print(row(call, clients, rounds), flush=True)
        caller.end()


if __name__ == "__main__":
    main()
