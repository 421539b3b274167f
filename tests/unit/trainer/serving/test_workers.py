"""Several processes serve on one port: each follows the champion, and one that dies is replaced."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .. import programs
from ..conftest import free_port

NAME = "served_by_processes"
Start = Callable[..., "subprocess.Popen[str]"]


def ask(port: int, body: bytes = b"") -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST" if body else "GET", "/invocations" if body else "/ping", body or None, headers)
        reply = connection.getresponse()
        reply.read()
        return reply.status, reply.getheader("x-model-uri")
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(port: int, uri: str | None = None) -> bool:
    try:
        status, served = ask(port)
    except OSError:
        return False
    return status == 200 and (uri is None or served == uri)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_worker_that_dies_is_replaced(start: Start, saved: Path) -> None:
    port = free_port()
    process = start("serve", "--model", saved, "--port", port, "--workers", 2)
    wait_for(lambda: answers(port))
    before = programs.children(process.pid)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    wait_for(lambda: len(programs.children(process.pid) - before) == 1)
    wait_for(lambda: answers(port))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_stopping_is_no_error(start: Start, saved: Path, number: int, workers: int) -> None:
    """Ctrl-C and SIGTERM end a server in order: nothing is printed, and the exit code is 0."""
    process = start("serve", "--model", saved, "--port", 0, "--workers", workers)
    assert process.stderr is not None
    port = int(next(line for line in process.stderr if "listening on" in line).rsplit(":", 1)[1])
    wait_for(lambda: answers(port))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert [line for line in said.splitlines() if not line.startswith("trainer: serving ")] == []
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_killed_parent_ends_its_workers(start: Start, saved: Path) -> None:
    """Its output is at its end when the last of its processes is gone."""
    port = free_port()
    process = start("serve", "--model", saved, "--port", port, "--workers", 2)
    wait_for(lambda: answers(port))
    assert len(programs.children(process.pid)) == 2
    process.kill()
    process.communicate(timeout=60)


def test_workers_that_cannot_start_end(start: Start, workdir: Path) -> None:
    (workdir / "empty").mkdir()
    process = start("serve", "--model", workdir / "empty", "--port", free_port(), "--workers", 2)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1, (out, err)
    assert "cannot be loaded" in err
    assert err.splitlines()[-1] == "trainer: error: a process that serves has ended, and so have the others"


def test_promotion_under_load_loses_nothing(start: Start, saved: Path, server: str, logged: tuple[str, str]) -> None:
    client = MlflowClient(server, server)
    client.create_registered_model(NAME)
    uris = [f"models:/{NAME}/{client.create_model_version(NAME, *logged).version}" for _ in range(2)]
    client.set_registered_model_alias(NAME, "champion", "1")
    port = free_port()
    options = ("--workers", 2, "--interval", 0.1, "--tracking-uri", server)
    process = start("serve", "--model", f"models:/{NAME}@champion", "--port", port, *options)
    # Both processes: a connection meets either.
    wait_for(lambda: all(answers(port, uris[0]) for _ in range(20)))
    body, done = (saved / "serving_input_example.json").read_bytes(), threading.Event()

    def load() -> list[tuple[int, str | None]]:
        seen = []
        while not done.is_set():
            seen.append(ask(port, body))
        return seen

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(load) for _ in range(4)]
        try:
            for version in ("2", "1"):
                client.set_registered_model_alias(NAME, "champion", version)
                uri = uris[int(version) - 1]
                wait_for(lambda uri=uri: all(answers(port, uri) for _ in range(20)))  # type: ignore[misc]
        finally:
            done.set()
        seen = [answer for one in clients for answer in one.result()]
    assert {status for status, _ in seen} == {200}
    assert {uri for _, uri in seen} == set(uris)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
