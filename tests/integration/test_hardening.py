"""No container has more rights, memory or room for logs than it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .stack import ONE_SHOTS, SERVERS, Stack

if TYPE_CHECKING:
    from docker.models.containers import Container

EVERYONE = (*SERVERS, *ONE_SHOTS, "trainer", "serving", "proxy", "scheduler", "worker")


# These are started when a test asks for them.
STARTED = {
    "trainer": "idle_trainer",
    "serving": "serving",
    "proxy": "proxy",
    "scheduler": "scheduler",
    "worker": "worker",
}


@pytest.fixture(params=EVERYONE)
def container(request: pytest.FixtureRequest, stack: Stack) -> Container:
    """Each service's container."""
    if request.param in STARTED:
        started: Container = request.getfixturevalue(STARTED[request.param])
        return started
    return stack.container(request.param)


@pytest.fixture(params=(*SERVERS, *STARTED))
def running(request: pytest.FixtureRequest, stack: Stack) -> Container:
    """Each running container."""
    if request.param in STARTED:
        started: Container = request.getfixturevalue(STARTED[request.param])
        return started
    return stack.container(request.param)


def test_container_gets_no_rights_beyond_a_users(container: Container) -> None:
    host = container.attrs["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Privileged"] is False
    assert container.attrs["Config"]["User"].partition(":")[0] not in ("", "0", "root")


def test_process_is_no_root_and_has_no_capability(stack: Stack, running: Container) -> None:
    lines = stack.exec(running, "cat", "/proc/1/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"]
    assert "0" not in status["Gid"]
    assert {int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]


def test_root_file_system_is_read_only(container: Container) -> None:
    assert container.attrs["HostConfig"]["ReadonlyRootfs"] is True


def test_root_file_system_is_read_only_in_fact(stack: Stack, running: Container) -> None:
    """Root file system is mounted read only in fact."""
    mounts = [line.split() for line in stack.exec(running, "cat", "/proc/mounts").splitlines()]
    (root,) = [options.split(",") for _, place, _, options, *_ in mounts if place == "/"]
    assert "ro" in root


def test_container_is_bounded(container: Container) -> None:
    host = container.attrs["HostConfig"]
    assert 0 < host["PidsLimit"] <= 512
    assert 0 < host["Memory"] <= 4 * 2**30


def test_logs_rotate(container: Container) -> None:
    logging = container.attrs["HostConfig"]["LogConfig"]
    assert logging["Type"] in ("local", "json-file")
    assert logging["Config"]["max-size"]
    assert int(logging["Config"]["max-file"]) > 1


@pytest.mark.parametrize("service", [*SERVERS, "serving", "proxy", "scheduler", "worker"])
def test_server_restarts_until_someone_stops_it(
    stack: Stack, serving: Container, proxy: Container, cluster: dict[str, Container], service: str
) -> None:
    assert stack.container(service).attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


@pytest.mark.parametrize("service", ONE_SHOTS)
def test_one_shot_ended_well_and_does_not_come_back(stack: Stack, service: str) -> None:
    container = stack.container(service).attrs
    assert (container["State"]["Status"], container["State"]["ExitCode"]) == ("exited", 0)
    assert container["HostConfig"]["RestartPolicy"]["Name"] in ("no", "on-failure")


def test_docker_socket_is_mounted_nowhere(container: Container) -> None:
    assert [mount for mount in container.attrs["Mounts"] if mount["Source"].endswith(".sock")] == []
