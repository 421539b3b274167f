"""Measures the stack beside a default `mlflow server` on the same database and bucket, and prints a table of ratios.

Run it by scripts/benchmark. The stack is one of its own, and removed afterwards.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROJECT = os.environ.get("BENCHMARK_PROJECT", "mlflow-replica-benchmark")
STACK = ("postgres", "minio", "mlflow")
DEFAULT = ("postgres", "minio", "mlflow-default")
ENVIRONMENT = {
    **os.environ,
    "MLFLOW_PORT": "0",
    "MINIO_PORT": "0",
    "MINIO_CONSOLE_PORT": "0",
    "COMPOSE_PROFILES": "minio",
}
ROUNDS = 2
MIB = 1024 * 1024


def compose(*arguments: str) -> str:
    """Runs docker compose on the stack and its neighbour; returns what it prints, raises when it fails."""
    files = ["--file", str(ROOT / "compose.yaml"), "--file", str(HERE / "compose.yaml")]
    command = ["docker", "compose", "--project-name", PROJECT, "--project-directory", str(ROOT), *files, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode:
        raise SystemExit(f"benchmark: error: docker compose {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def memory(services: tuple[str, ...]) -> float:
    """Returns what the services' containers occupy, page cache that can be dropped left out, in MiB."""
    total = 0.0
    for container in docker.from_env().containers.list(filters={"label": f"com.docker.compose.project={PROJECT}"}):
        if container.labels["com.docker.compose.service"] in services:
            now = container.stats(stream=False)
            assert isinstance(now, dict)  # not a stream
            figures = now["memory_stats"]
            details = figures["stats"]
            # The first name is that of cgroup v1, the second that of v2.
            total += figures["usage"] - details.get("total_inactive_file", details.get("inactive_file", 0))
    return total / MIB


def seconds(*arguments: str) -> float:
    """Returns the wall time of a docker compose command, in seconds."""
    start = time.perf_counter()
    compose(*arguments)
    return time.perf_counter() - start


def start(*services: str) -> float:
    """Returns the time from stopped to all healthy, one-shot services included, in seconds."""
    compose("stop")
    return seconds("up", "--detach", "--wait", *services)


def trainer(*arguments: str, entrypoint: str = "", server: str = "mlflow") -> str:
    """Runs something in the trainer's container; returns what it prints."""
    options = [
        "--rm",
        "--no-deps",
        "-T",
        "--volume",
        f"{HERE}:/benchmark:ro",
        "-e",
        f"MLFLOW_TRACKING_URI=http://{server}:5000",
    ]
    if entrypoint:
        options += ["--entrypoint", entrypoint]
    return compose("run", *options, "trainer", *arguments)


def sweep_seconds() -> tuple[float, float]:
    """Returns the standard sweep's wall time with and without tracking, in seconds."""
    begin = time.perf_counter()
    trainer("sweep", "--again")
    tracked = time.perf_counter() - begin
    begin = time.perf_counter()
    trainer("/benchmark/untracked_sweep.py", entrypoint="python3")
    return tracked, time.perf_counter() - begin


def loop_seconds() -> tuple[float, float, float]:
    """Returns the wall time of four variants as a sweep and as a plain loop, in seconds, and the largest gap in F1."""
    begin = time.perf_counter()
    # At the threshold that the loop's models have.
    options = ("--variants", "/benchmark/variants.yaml", "--threshold", "0.5", "--again", "--json")
    swept = [variant["metrics"]["f1"] for variant in json.loads(trainer("sweep", *options))["variants"]]
    ours = time.perf_counter() - begin
    begin = time.perf_counter()
    lines = trainer("/benchmark/plain_loop.py", entrypoint="python3").splitlines()
    looped = [float(line) for line in lines if line.startswith("0.")]
    return ours, time.perf_counter() - begin, max(abs(a - b) for a, b in zip(swept, looped, strict=True))


def pair(name: str, ours: float, other: float, unit: str, what: str) -> str:
    """Returns a row of the table."""
    return f"{name:<44} {ours:>9.1f} {other:>9.1f}  {unit:<4} {ours / other:>6.2f}  {what}"


@contextmanager
def stack(keep: bool = False) -> Iterator[None]:
    """Removes the stack at the end, whatever happens, unless it is to stay."""
    try:
        yield
    finally:
        if not keep:
            compose("down", "--volumes", "--remove-orphans")


def main() -> None:
    """Measures and prints."""
    rows = []
    # By name or profile: `build` alone leaves out what no profile of the stack needs, the trainer for one.
    compose("--profile", "*", "build")
    with stack():
        compose("up", "--detach", "--wait", *STACK)
        ours_start = [start(*STACK) for _ in range(ROUNDS)]
        idle = memory(STACK)
        rounds = [sweep_seconds() for _ in range(ROUNDS)]
        loops = [loop_seconds() for _ in range(ROUNDS)]
        used = memory(STACK)
        compose("stop", "mlflow")
        compose("up", "--detach", "--wait", *DEFAULT)
        default_start = [start(*DEFAULT) for _ in range(ROUNDS)]
        default_idle = memory(DEFAULT)
        for _ in range(ROUNDS):
            trainer("sweep", "--again", server="mlflow-default")
        default_used = memory(DEFAULT)
        compose("up", "--detach", "--wait", *STACK)
        calls = ["/benchmark/log_metric.py", "300", "http://mlflow:5000", "http://mlflow-default:5000"]
        p50 = json.loads(trainer(*calls, entrypoint="python3").splitlines()[-1])
    default = "default mlflow server"
    rows.append(pair("idle memory of the stack after the start", idle, default_idle, "MiB", default))
    rows.append(pair(f"  after {ROUNDS} standard sweeps", used, default_used, "MiB", default))
    rows.append(
        pair("stopped to all healthy", statistics.median(ours_start), statistics.median(default_start), "s", default)
    )
    rows.append(
        pair(
            "log_metric, p50 of 290 calls", p50["http://mlflow:5000"], p50["http://mlflow-default:5000"], "ms", default
        )
    )
    tracked, untracked = (statistics.median(column) for column in zip(*rounds, strict=True))
    rows.append(pair("standard sweep in one container", tracked, untracked, "s", "the same without tracking"))
    ours, loop, gap = (statistics.median(column) for column in zip(*loops, strict=True))
    rows.append(pair("four variants in one container", ours, loop, "s", f"a plain loop (F1 within {gap:.4f})"))
    print(f"{'':<44} {'stack':>9} {'other':>9}  {'':<4} {'ratio':>6}  other is")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
