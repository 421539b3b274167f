"""Who reaches whom: outsiders come in by the loopback address or the proxy, the trainer reaches only the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .stack import ONE_SHOTS, SERVERS, STORAGE, STORAGE_NETWORK, Stack, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container

PUBLISHED = {
    "postgres": set(),
    "minio": {"9000/tcp", "9001/tcp"},
    "gcs-store": set(),
    "gcs": {"4443/tcp", "4444/tcp"},
    "mlflow": set(),
    "edge": {"5000/tcp"},
    "serving": set(),
    "serving-edge": {"5000/tcp"},
    "scheduler": set(),
    "worker": set(),
    "scheduler-edge": {"5000/tcp"},
    "dashboard-edge": {"5000/tcp"},
}
# The storage that the server talks to.
STORAGE_ADDRESS = {"minio": ("minio", 9000), "gcs": ("gcs", 4443)}[STORAGE]
JOINED = {
    "postgres": {"database"},
    "migrate": {"database"},
    "minio": {STORAGE_NETWORK, "minio-ports"},
    "gcs-keys": {"none"},
    "gcs-store": {"gcs-store"},
    "gcs": {"gcs-store", STORAGE_NETWORK},
    "preflight": {STORAGE_NETWORK},
    "bucket": {STORAGE_NETWORK},
    "mlflow": {"database", STORAGE_NETWORK, "inside"},
    "edge": {"inside", "outside"},
    "secrets": {"none"},
}
CONNECT = """
import json, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print(json.dumps("connected"))
except OSError as error:
    print(json.dumps(type(error).__name__))
"""


def networks_of(stack: Stack, container: Container) -> set[str]:
    """Returns the names of a container's networks, without the project's."""
    return {name.removeprefix(f"{stack.project}_") for name in container.attrs["NetworkSettings"]["Networks"]}


def attempt(stack: Stack, container: Container, host: str, port: int) -> str:
    """Returns what comes of a connection attempt from inside a container."""
    return str(json.loads(stack.exec(container, "python3", "-c", CONNECT, host, str(port))))


def test_ports_are_published_on_loopback_only(stack: Stack, serving: Container, cluster: dict[str, Container]) -> None:
    for service in (*SERVERS, "serving", "serving-edge", *cluster):
        ports = stack.container(service).attrs["NetworkSettings"]["Ports"]
        published = {port: bindings for port, bindings in ports.items() if bindings}
        assert set(published) == PUBLISHED[service], service
        assert {binding["HostIp"] for bindings in published.values() for binding in bindings} <= {"127.0.0.1"}


def test_only_the_proxy_is_reached_from_elsewhere(stack: Stack, proxy: Container) -> None:
    ports = {port: bindings for port, bindings in proxy.attrs["NetworkSettings"]["Ports"].items() if bindings}
    assert set(ports) == {"80/tcp", "443/tcp"}
    assert "0.0.0.0" in {binding["HostIp"] for bindings in ports.values() for binding in bindings}  # noqa: S104


def test_services_join_only_needed_networks(
    stack: Stack, idle_trainer: Container, serving: Container, proxy: Container, cluster: dict[str, Container]
) -> None:
    """Services join the networks they need and no other."""
    joined = {service: networks_of(stack, stack.container(service)) for service in (*SERVERS, *ONE_SHOTS)}
    assert joined == {service: JOINED[service] for service in joined}
    assert networks_of(stack, serving) == {"inside"}
    assert [networks_of(stack, cluster[one]) for one in ("scheduler", "worker")] == [{"inside"}] * 2
    edges = (stack.container("serving-edge"), cluster["scheduler-edge"], cluster["dashboard-edge"])
    others = (idle_trainer, proxy, *edges)
    assert [networks_of(stack, one) for one in others] == [{"inside", "outside"}] * 5


def test_closed_networks_are_internal(stack: Stack) -> None:
    for name in ("database", "inside", *(["storage-internal"] if STORAGE == "minio" else [])):
        (network,) = stack.docker.networks.list(names=[f"{stack.project}_{name}"])
        assert network.attrs["Internal"] is True, name


CLOSED = ["postgres", "serving", "scheduler", "worker", pytest.param("mlflow", marks=pytest.mark.minio)]


@pytest.mark.parametrize("service", CLOSED)
def test_no_default_route(stack: Stack, serving: Container, cluster: dict[str, Container], service: str) -> None:
    # Without a default route (destination 0) no packet leaves the network.
    routes = stack.exec(service, "cat", "/proc/net/route").splitlines()[1:]
    assert routes
    assert [route for route in routes if route.split()[1] == "00000000"] == []


LISTEN = "import socket; s = socket.create_server(('', 0)); print(s.getsockname()[1], flush=True); s.listen(); input()"


@pytest.fixture(scope="module")
def elsewhere(stack: Stack) -> Iterator[tuple[str, int]]:
    """An address outside of the stack's networks that answers: this machine's own, at a port that it opens to all."""
    listener = stack.docker.containers.run(
        stack.image("trainer"),
        entrypoint=["python3", "-c", LISTEN],
        network_mode="host",
        stdin_open=True,
        detach=True,
        init=True,
    )
    try:
        wait_until(lambda: listener.logs().strip(), "it listens")
        (network,) = stack.docker.networks.list(names=["^bridge$"])
        yield network.attrs["IPAM"]["Config"][0]["Gateway"], int(listener.logs())
    finally:
        listener.remove(force=True)


@pytest.mark.parametrize("service", ["serving", pytest.param("mlflow", marks=pytest.mark.minio)])
def test_no_way_out(
    stack: Stack, serving: Container, idle_trainer: Container, elsewhere: tuple[str, int], service: str
) -> None:
    """Neither to another machine's address, nor to a cloud's metadata service, nor to this machine's own ports."""
    address, port = elsewhere
    # There is something to reach.
    assert attempt(stack, idle_trainer, address, port) == "connected"
    container = stack.container(service)
    gateways = [network["Gateway"] for network in container.attrs["NetworkSettings"]["Networks"].values()]
    for host, at in ((address, port), ("169.254.169.254", 80), *((gateway, port) for gateway in gateways if gateway)):
        assert attempt(stack, container, host, at) in ("OSError", "TimeoutError"), host


@pytest.mark.gcs
def test_server_reaches_cloud_storage_by_a_way_out(stack: Stack, elsewhere: tuple[str, int]) -> None:
    assert attempt(stack, stack.container("mlflow"), *elsewhere) == "connected"


def test_trainer_reaches_the_server_by_its_name(stack: Stack, idle_trainer: Container) -> None:
    assert attempt(stack, idle_trainer, "mlflow", 5000) == "connected"


def test_worker_reaches_server_and_scheduler_only(stack: Stack, worker: Container) -> None:
    """Neither the database nor the storage: by their names, and by their addresses."""
    assert attempt(stack, worker, "mlflow", 5000) == "connected"
    assert attempt(stack, worker, "scheduler", 8786) == "connected"
    for name, port in (("postgres", 5432), STORAGE_ADDRESS):
        assert attempt(stack, worker, name, port) == "gaierror", name
        for network in stack.container(name).attrs["NetworkSettings"]["Networks"].values():
            assert attempt(stack, worker, network["IPAddress"], port) in ("OSError", "TimeoutError"), name


def test_trainer_cannot_resolve_database_or_storage(stack: Stack, idle_trainer: Container) -> None:
    for name, port in (("postgres", 5432), STORAGE_ADDRESS):
        assert attempt(stack, idle_trainer, name, port) == "gaierror", name


# PostgreSQL answers this with one byte, an HTTP server with an error.
SAY = """
import json, socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3) as connection:
        connection.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]) + b"\\r\\n\\r\\n")
        print(json.dumps(repr(connection.recv(100))))
except OSError as error:
    print(json.dumps(""))
"""


def test_trainer_cannot_reach_database_or_storage(stack: Stack, idle_trainer: Container) -> None:
    """By what answers, not by a connection alone: the way out may lead to something else at the same address."""

    def answer(container: Container, address: str, port: int) -> str:
        return str(json.loads(stack.exec(container, "python3", "-c", SAY, address, str(port))))

    for name, port in (("postgres", 5432), STORAGE_ADDRESS):
        networks = stack.container(name).attrs["NetworkSettings"]["Networks"].values()
        addresses = [network["IPAddress"] for network in networks]
        # Not by all: the storage is also on a network of its own.
        own = {answer(stack.container("mlflow"), address, port) for address in addresses} - {""}
        assert len(own) == 1, name
        assert own & {answer(idle_trainer, address, port) for address in addresses} == set(), name


def test_trainer_cannot_reach_storage_by_gateway(stack: Stack, idle_trainer: Container) -> None:
    """Trainer cannot reach the storage through its gateway."""
    for network in idle_trainer.attrs["NetworkSettings"]["Networks"].values():
        if network["Gateway"]:
            assert attempt(stack, idle_trainer, network["Gateway"], stack.port(*STORAGE_ADDRESS)) != "connected"
