"""Who reaches whom: outsiders come in by the loopback address or the proxy, the trainer reaches only the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .stack import ONE_SHOTS, SERVERS, STORAGE, Stack

if TYPE_CHECKING:
    from docker.models.containers import Container

PUBLISHED = {
    "postgres": set(),
    "minio": {"9000/tcp", "9001/tcp"},
    "gcs-store": set(),
    "gcs": {"4443/tcp", "4444/tcp"},
    "mlflow": {"5000/tcp"},
    "serving": {"5001/tcp"},
}
# The storage that the server talks to.
STORAGE_ADDRESS = {"minio": ("minio", 9000), "gcs": ("gcs", 4443)}[STORAGE]
JOINED = {
    "postgres": {"database"},
    "migrate": {"database"},
    "minio": {"storage"},
    "gcs-keys": {"none"},
    "gcs-store": {"gcs-store"},
    "gcs": {"gcs-store", "storage"},
    "preflight": {"storage"},
    "bucket": {"storage"},
    "mlflow": {"database", "storage", "frontend"},
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


def test_ports_are_published_on_loopback_only(stack: Stack, serving: Container) -> None:
    for service in (*SERVERS, "serving"):
        ports = stack.container(service).attrs["NetworkSettings"]["Ports"]
        published = {port: bindings for port, bindings in ports.items() if bindings}
        assert set(published) == PUBLISHED[service], service
        assert {binding["HostIp"] for bindings in published.values() for binding in bindings} <= {"127.0.0.1"}


def test_only_the_proxy_is_reached_from_elsewhere(stack: Stack, proxy: Container) -> None:
    ports = {port: bindings for port, bindings in proxy.attrs["NetworkSettings"]["Ports"].items() if bindings}
    assert set(ports) == {"80/tcp", "443/tcp"}
    assert "0.0.0.0" in {binding["HostIp"] for bindings in ports.values() for binding in bindings}  # noqa: S104


def test_services_join_the_networks_they_need_and_no_other(
    stack: Stack, idle_trainer: Container, serving: Container, proxy: Container
) -> None:
    joined = {service: networks_of(stack, stack.container(service)) for service in (*SERVERS, *ONE_SHOTS)}
    assert joined == {service: JOINED[service] for service in joined}
    assert [networks_of(stack, one) for one in (idle_trainer, serving, proxy)] == [{"frontend"}] * 3


def test_database_network_is_internal(stack: Stack) -> None:
    (network,) = stack.docker.networks.list(names=[f"{stack.project}_database"])
    assert network.attrs["Internal"] is True


def test_database_has_no_way_out(stack: Stack) -> None:
    # Without a default route (destination 0) no packet leaves the network.
    routes = stack.exec("postgres", "cat", "/proc/net/route").splitlines()[1:]
    assert routes
    assert [route for route in routes if route.split()[1] == "00000000"] == []


def test_trainer_reaches_the_server_by_its_name(stack: Stack, idle_trainer: Container) -> None:
    assert attempt(stack, idle_trainer, "mlflow", 5000) == "connected"


def test_trainer_cannot_resolve_database_or_storage(stack: Stack, idle_trainer: Container) -> None:
    for name, port in (("postgres", 5432), STORAGE_ADDRESS):
        assert attempt(stack, idle_trainer, name, port) == "gaierror", name


def test_trainer_cannot_reach_database_or_storage_by_address(stack: Stack, idle_trainer: Container) -> None:
    for name, port in (("postgres", 5432), STORAGE_ADDRESS):
        networks = stack.container(name).attrs["NetworkSettings"]["Networks"].values()
        addresses = [network["IPAddress"] for network in networks]
        # Not by all: the emulator of Cloud Storage is also on a network of its own.
        assert "connected" in [attempt(stack, stack.container("mlflow"), address, port) for address in addresses]
        for address in addresses:
            assert attempt(stack, idle_trainer, address, port) in ("TimeoutError", "OSError"), name


def test_trainer_cannot_reach_the_storage_through_its_gateway(stack: Stack, idle_trainer: Container) -> None:
    (network,) = idle_trainer.attrs["NetworkSettings"]["Networks"].values()
    assert attempt(stack, idle_trainer, network["Gateway"], stack.port(*STORAGE_ADDRESS)) != "connected"
