"""Times log_metric with a login and without, in turns, and prints ratios; and the memory of proxy and server.

    scripts/benchmark --people [--calls 400] [--crowd 60]

Then 50 people log metrics with a password each, for a minute, and it prints how many requests failed.

Two stacks side by side, one with AUTH=on and one without. Each call goes to each of them by each way, one after the
other, so that a slow moment of the machine hits all alike. Both stacks are removed afterwards.
"""

import argparse
import contextlib
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_TRACKING_INSECURE_TLS="true", NO_PROXY="*")
os.environ.setdefault("IMAGE_TAG", "local")

import requests
from mlflow import MlflowClient

from tests.integration.container_memory import MIB, held
from tests.integration.stack import STORAGE, Stack

PASSWORD = "correct horse battery"
SERVICES = ("mlflow", "proxy")
# The first calls open connections and fill caches.
WARM = 20


@dataclass
class Way:
    """A way to a server.

    Attributes:
        name: What it is called in the table.
        url: The server's address.
        login: The variables that MLflow's client logs in by.
        beside: The way that it is compared with.
    """

    name: str
    url: str
    login: dict[str, str]
    beside: str = ""


def user(stack: Stack, *args: str) -> str:
    """Runs `user` in the proxy's container and returns what it prints."""
    return stack.exec("proxy", "bash", "-c", 'user "$@" <<<"$0"', PASSWORD, *args).strip()


def ways(without: Stack, with_login: Stack) -> list[Way]:
    """Makes alice in both stacks, and gina where there are grants, and returns the ways to them."""
    user(without, "add", "alice")
    user(with_login, "add", "alice", "--role", "member")
    password = {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    token = {"MLFLOW_TRACKING_TOKEN": user(with_login, "token", "add", "alice", "--name", "ci")}
    # A viewer, who logs by a grant alone: it is looked up whose experiment the run is in.
    user(with_login, "add", "gina", "--role", "viewer")
    user(with_login, "grant", "gina", "member", "--experiment", "Default")
    granted = {"MLFLOW_TRACKING_TOKEN": user(with_login, "token", "add", "gina", "--name", "ci")}
    outside = {stack: f"https://localhost:{stack.port('proxy', 443)}" for stack in (without, with_login)}
    inside, proxy = "inside, no login", "proxy, AUTH=off"
    return [
        Way(inside, without.url, {}),
        Way("inside, token", with_login.url, token, inside),
        Way("inside, token and grant", with_login.url, granted, inside),
        Way(proxy, outside[without], password),
        Way("proxy, password", outside[with_login], password, proxy),
        Way("proxy, token", outside[with_login], token, proxy),
    ]


@contextlib.contextmanager
def logged_in(login: dict[str, str]) -> Iterator[None]:
    """Sets a login's variables for a `with` block."""
    os.environ.update(login)
    try:
        yield
    finally:
        for name in login:
            del os.environ[name]


def measure(found: list[Way], calls: int) -> dict[str, float]:
    """Returns the median time of a call by each way, in milliseconds."""
    clients, runs = {}, {}
    for way in found:
        with logged_in(way.login):
            clients[way.name] = MlflowClient(way.url)
            runs[way.name] = clients[way.name].create_run("0").info.run_id
    times: dict[str, list[float]] = {way.name: [] for way in found}
    for step in range(calls + WARM):
        # Another one begins each time.
        for way in found[step % len(found) :] + found[: step % len(found)]:
            with logged_in(way.login):
                begin = time.perf_counter()
                clients[way.name].log_metric(runs[way.name], "value", float(step), step=step)
                times[way.name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values[WARM:]) for name, values in times.items()}


def crowd(stack: Stack, seconds: float) -> str:
    """Returns how many metrics 50 people logged at the proxy by passwords, and how many requests failed."""
    stack.sql("INSERT INTO people.users (name, role) SELECT 'q' || n, 'member' FROM generate_series(1, 50) n")
    make = 'hash=$(mkpasswd --stdin --method=bcrypt --rounds=10 <<<"$0")'
    stack.exec("proxy", "bash", "-c", f'{make}; for n in {{1..50}}; do echo "q$n $hash"; done >>/data/users', PASSWORD)
    url = f"https://localhost:{stack.port('proxy', 443)}/api/2.0/mlflow/runs"
    end = time.monotonic() + seconds

    def work(number: int) -> list[int]:
        session, statuses = requests.Session(), []
        session.auth, session.verify, session.trust_env = (f"q{number}", PASSWORD), False, False
        made = session.post(f"{url}/create", json={"experiment_id": "0"}, timeout=60)
        body = {"run_id": made.json()["run"]["info"]["run_id"], "key": "loss", "value": 1, "timestamp": 1}
        while time.monotonic() < end:
            statuses.append(session.post(f"{url}/log-metric", json=body, timeout=60).status_code)
        return statuses

    with ThreadPoolExecutor(50) as pool:
        found = [status for statuses in pool.map(work, range(1, 51)) for status in statuses]
    return f"50 passwords for {seconds:g} s: {len(found)} metrics, {sum(status != 200 for status in found)} errors"


def main() -> None:
    """Brings both stacks up, measures, and removes them, also when it is told to end."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--calls", type=int, default=400, help="by each way (default: 400)")
    arguments.add_argument(
        "--crowd", type=float, default=60, help="seconds for which 50 people log metrics (default: 60)"
    )
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as ending:
        stacks = []
        for auth in ("off", "on"):
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="people-")))
            stack = Stack(folder, settings={"COMPOSE_PROFILES": f"{STORAGE},https", "AUTH": auth})
            ending.callback(stack.remove)
            # What is measured, as it is now; the others where they are missing.
            stack.compose("build", *SERVICES, timeout=1800)
            stack.up()
            stacks.append(stack)
        found = ways(*stacks)
        middle = measure(found, options.calls)
        print(f"{'log_metric, p50 of ' + str(options.calls):<28} {'ms':>8} {'ratio':>8}  beside")
        for way in found:
            ratio = f"{middle[way.name] / middle[way.beside]:8.2f}  {way.beside}" if way.beside else ""
            print(f"{way.name:<28} {middle[way.name]:8.2f} {ratio}")
        print(f"{'memory after it':<28} {'AUTH=on':>8} {'off':>8}")
        for service in SERVICES:
            off, on = (held(stack.container(service)) / MIB for stack in stacks)
            print(f"{service:<28} {on:8.0f} {off:8.0f}  MiB")
        print(crowd(stacks[1], options.crowd))


if __name__ == "__main__":
    main()
