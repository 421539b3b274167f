"""Workers on another machine: a project of their own, on a network of its own, which shares published ports only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .conftest import NewStack
from .people import user
from .stack import ROOT, STORAGE, Stack, free_port

PASSWORD = "correct-horse-battery"
SWEEP = ("sweep", "--grid", "n_estimators=20,30", "--no-register", "--experiment", "elsewhere", "--cluster")


class Workers(Stack):
    """A project made of `compose.worker.yaml` alone.

    Args:
        folder: An empty folder for its files.
        values: What a person sets before the one command.
    """

    def __init__(self, folder: Path, values: dict[str, str]) -> None:
        super().__init__(folder, values)
        override = {
            # Docker's own pools hold few networks; and health is asked for soon.
            "networks": {"default": next(iter(self._small_networks().values()))},
            "services": {"worker": {"healthcheck": {"interval": "1s"}}},
        }
        file = folder / "workers.json"
        file.write_text(json.dumps(override))
        self.files = [ROOT / "compose.worker.yaml", file]


@pytest.fixture(scope="module")
def address(stack_of_a: Stack) -> str:
    """An address of this machine that containers of every network reach: where Docker's own bridge has its gateway."""
    config = stack_of_a.docker.networks.get("bridge").attrs["IPAM"]["Config"]
    return str(next(one["Gateway"] for one in config if "." in one.get("Gateway", "")))


@pytest.fixture(scope="module")
def stack_of_a(new_stack: NewStack) -> Iterator[Stack]:
    """Machine A: the stack, with HTTPS and the scheduler published by their settings."""
    with new_stack() as stack:
        yield stack


def test_worker_elsewhere_trains_a_sweep(stack_of_a: Stack, address: str, tmp_path: Path) -> None:
    """One command and three values; a sweep of machine A runs on the only worker, which is machine B's."""
    stack = stack_of_a
    ports = {"CLUSTER_PORT": str(free_port()), "PROXY_HTTPS_PORT": str(free_port())}
    stack.environment |= ports | {"CLUSTER_HOST": address, "COMPOSE_PROFILES": f"{STORAGE},https"}
    stack.environment["MLFLOW_PUBLIC_HOSTS"] = address
    stack.up()
    stack.up("worker", "scheduler-edge")
    assert {one["HostIp"] for one in stack.container("dashboard-edge").ports["5000/tcp"] or []} == {"127.0.0.1"}
    user(stack, "add", "bob", password=PASSWORD)
    stack.compose("cp", "worker:/run/secrets/cluster", str(tmp_path / "cluster"))
    # No public authority knows the address: the one that the proxy has made up.
    authority = stack.exec("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
    (tmp_path / "cluster/tracking.pem").write_text(authority)
    for path in ((tmp_path / "cluster"), *(tmp_path / "cluster").iterdir()):
        path.chmod(0o755)
    stack.compose("rm", "--stop", "--force", "worker")
    (tmp_path / "b").mkdir()
    workers = Workers(
        tmp_path / "b",
        {
            "CLUSTER_SCHEDULER": f"tls://{address}:{ports['CLUSTER_PORT']}",
            "CLUSTER_CERTIFICATES": str(tmp_path / "cluster"),
            "WORKER_TRACKING_URI": f"https://bob:{PASSWORD}@{address}:{ports['PROXY_HTTPS_PORT']}",
        },
    )
    try:
        workers.up()
        shared = set(workers.container("worker").attrs["NetworkSettings"]["Networks"]) & {
            name for one in stack.containers() for name in one.attrs["NetworkSettings"]["Networks"]
        }
        assert not shared
        there = stack.train(*SWEEP)
        assert len(there["variants"]) == 2
        lines = workers.logs("worker")
    finally:
        workers.remove()
    assert "takes part at" in lines
    client = MlflowClient(stack.url)
    found = client.get_experiment_by_name("elsewhere")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    here = stack.train(*SWEEP[:-1], "--again")
    assert [one["metrics"] for one in there["variants"]] == [one["metrics"] for one in here["variants"]]


def test_setting_publishes_the_dashboard(stack_of_a: Stack, address: str) -> None:
    """For browsers that name this very address, and no longer on loopback."""
    stack_of_a.environment["DASHBOARD_HOST"] = address
    stack_of_a.up("scheduler")
    (published,) = stack_of_a.container("dashboard-edge").ports["5000/tcp"] or []
    assert published["HostIp"] == address
    for host, status in ((address, 302), ("machine-a.example", 403)):
        with closing(http.client.HTTPConnection(address, int(published["HostPort"]), timeout=30)) as connection:
            connection.request("GET", "/", headers={"Host": host})
            assert connection.getresponse().status == status, host
