"""Three servers behind one address: killed, replaced, and bounded, while clients work."""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from .conftest import NewStack
from .faults import FAULTS
from .kill_moments import Sweeping
from .load import ARTIFACTS, Client, Result
from .stack import ROOT, STORAGE_NETWORK, Stack, free_port, wait_until
from .test_load import check_all_is_there, new_experiment
from .test_networks import attempt, networks_of

if TYPE_CHECKING:
    from docker.models.containers import Container

SERVERS, CLIENTS = 3, 16
# Seconds for a rolling restart, on a machine that others use.
RESTART = 420.0
# A slow upload: pieces of 64 KiB, one each 0.2 s.
PIECE, PIECES = 2**16, 200


@pytest.fixture(scope="module")
def several(new_stack: NewStack) -> Iterator[Stack]:
    """A stack of three servers, for tests that leave it with three healthy ones."""
    settings = {"MLFLOW_SERVERS": str(SERVERS), "MLFLOW_PORT": str(free_port())}
    health = {"healthcheck": {"interval": "1s"}}
    override = {"services": {"mlflow": health, "edge": health}}
    with new_stack(settings=settings, override=override, files=("compose.servers.yaml",)) as stack:
        stack.up()
        yield stack


def servers(stack: Stack) -> list[Container]:
    """Returns the servers' containers."""
    return stack.containers("com.docker.compose.service=mlflow", "com.docker.compose.oneoff=False")


def up(stack: Stack) -> int:
    """Returns to how many servers requests go."""
    return stack.exec("edge", "servers").count(" UP\n")


def wait_for_servers(stack: Stack) -> None:
    """Waits until requests go to all servers."""
    wait_until(lambda: up(stack) == SERVERS, "requests go to all servers", 120)


def test_only_the_balancer_reaches_the_servers(several: Stack) -> None:
    """They share a network with `edge` that has no way out, and with the database and the storage."""
    wait_for_servers(several)
    for server in servers(several):
        assert networks_of(several, server) == {"database", STORAGE_NETWORK, "servers"}
    assert networks_of(several, several.container("edge")) == {"servers", "inside", "outside"}
    (network,) = several.docker.networks.list(names=[f"{several.project}_servers"])
    network.reload()
    assert network.attrs["Internal"] is True
    assert len(network.attrs["Containers"]) == SERVERS + 1


def test_clients_inside_have_the_same_address(several: Stack) -> None:
    """For the trainer `mlflow` is the balancer, and it reaches no server past it."""
    wait_for_servers(several)
    trainer = several.start_trainer("infinity", entrypoint="sleep")
    try:
        assert attempt(several, trainer, "mlflow", 5000) == "connected"
        assert attempt(several, trainer, "mlflow-server", 5000) == "gaierror"
        ask = "import urllib.request; print(urllib.request.urlopen('http://mlflow:5000/version').read().decode())"
        versions = [several.exec(trainer, "python3", "-c", ask) for _ in range(2 * SERVERS)]
    finally:
        trainer.remove(force=True)
    assert set(versions) == {"3.17.2\n"}


def test_sweep_survives_the_death_of_a_server(several: Stack) -> None:
    """One of three is killed twice under a running sweep, which ends well with each variant tracked once."""
    wait_for_servers(several)
    sweep = Sweeping(several, "killed-server", fault="killed")
    sweep.begin()
    FAULTS["killed"](several, sweep, "mlflow")
    wait_for_servers(several)
    FAULTS["killed"](several, sweep, "mlflow")
    sweep.end()
    wait_for_servers(several)
    sweep.verify()
    runs = several.sql("SELECT name FROM runs WHERE experiment_id = %s", int(sweep.experiment))
    assert len(runs) == len(sweep.trees) + 1


def test_change_is_never_sent_to_a_second_server(several: Stack) -> None:
    """A request that changes something dies with its server, and its client learns so: it may have been done."""
    wait_for_servers(several)
    body = {"experiment_id": "0", "start_time": 1, "run_name": "once"}
    database = int(several.container("postgres").attrs["State"]["Pid"])
    children = [int(pid) for (pid,) in several.container("postgres").top(ps_args="-o pid")["Processes"]]
    with ThreadPoolExecutor(1) as pool:
        several.signal_processes("STOP", database, *children)
        try:
            begun = requests.Session()
            made = pool.submit(begun.post, f"{several.url}/api/2.0/mlflow/runs/create", json=body, timeout=120)
            # Whichever has it: all of them, one after the other.
            for server in servers(several):
                several.signal_processes("KILL", several.main_process(server))
            answer = made.result(120)
        finally:
            several.signal_processes("CONT", database, *children)
    assert answer.status_code in (502, 503)
    assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    wait_for_servers(several)
    assert len(several.sql("SELECT 1 FROM runs WHERE name = 'once'")) <= (answer.status_code == 502)


def slow_upload(address: str, experiment: str) -> int:
    """Uploads 12.5 MiB in 40 seconds; returns the answer's status."""
    client = http.client.HTTPConnection(address, timeout=120)
    client.putrequest("PUT", f"{ARTIFACTS}/{experiment}/slow/artifacts/file.bin")
    client.putheader("Content-Length", str(PIECE * PIECES))
    client.endheaders()
    # The pace of a slow line.
    pace = threading.Event()
    for _ in range(PIECES):
        client.send(bytes(PIECE))
        pace.wait(0.2)
    status = client.getresponse().status
    client.close()
    return status


def test_rolling_restart_fails_no_request(several: Stack) -> None:
    """16 clients that never ask twice, and an upload that takes 40 seconds, notice nothing of it."""
    wait_for_servers(several)
    before = {server.id for server in servers(several)}
    address = urlsplit(several.url).netloc
    experiment = new_experiment(several, "rolling restart")
    clients = [Client(address, experiment, number) for number in range(CLIENTS)]
    over = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        working = [pool.submit(client.run, lambda: not over.is_set()) for client in clients]
        upload = pool.submit(slow_upload, address, experiment)
        try:
            done = subprocess.run(
                [ROOT / "scripts/rolling-restart"],
                env={**os.environ, **several.settings},
                capture_output=True,
                text=True,
                timeout=RESTART,
                check=False,
            )
        finally:
            over.set()
        for one in working:
            one.result()
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"==> all {SERVERS} servers are new\n")
    assert upload.result() == 200
    result = Result(clients)
    assert dict(result.errors) == {}
    assert len(result.seconds) > 10 * CLIENTS
    assert before & {server.id for server in servers(several)} == set()
    wait_for_servers(several)
    check_all_is_there(several, experiment, result)


def test_one_server_too_many_does_not_start(several: Stack) -> None:
    """Four fit into the database's connections: a fifth says so in one line, and the others go on."""
    wait_for_servers(several)
    several.compose("up", "--detach", "--no-deps", "--no-recreate", "--scale", f"mlflow={SERVERS + 2}", "mlflow")
    said = "error: 5 servers are on this database, which accepts 213 connections (max_connections 216), and they may"
    try:
        wait_until(lambda: said in several.logs("mlflow"), "the fifth server has said so", 150)
        wait_until(lambda: up(several) == SERVERS + 1, "four servers get requests", 120)
        rows = several.sql(
            "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE application_name ~ %s", "^m"
        )
        assert rows[0][0] >= SERVERS + 1
    finally:
        several.up("--no-deps", "mlflow")
    wait_for_servers(several)


def test_setting_too_high_is_one_line(several: Stack) -> None:
    run = ("run", "--rm", "--no-deps", "-T", "mlflow")
    done = several.compose(*run, check=False, settings={"MLFLOW_SERVERS": "4"})
    assert done.returncode == 1
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "error:" in line]
    assert lines == [
        "error: the database accepts 213 connections (max_connections 216), and 4 servers of 12 workers, with one more "
        "while one is replaced, need 265: raise its max_connections to 268, or lower MLFLOW_SERVERS or MLFLOW_WORKERS"
    ]
