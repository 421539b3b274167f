"""What can befall a part of the stack: it is killed, frozen, restarted or cut off, and comes back.

Each fault begins at once, lasts, and ends; what has to come back by itself may still be on its way then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from .kill_moments import Command, Work
from .stack import SERVERS, Stack, wait_until

#: How long a fault lasts that somebody has to end, in seconds.
LENGTH = 3.0


def _last() -> None:
    threading.Event().wait(LENGTH)


def _kill(stack: Stack, _work: Work, *services: str) -> None:
    """Kills main processes, as a crash or the kernel's memory killer does; Docker starts them again."""

    def restarts(service: str) -> int:
        return int(stack.container(service).attrs["RestartCount"])

    before = {service: restarts(service) for service in services}
    stack.kill(*services)
    for service, count in before.items():
        wait_until(lambda service=service, count=count: restarts(service) > count, f"{service} is restarted")  # type: ignore[misc]


def _power(stack: Stack, work: Work) -> None:
    """Kills all servers at once."""
    _kill(stack, work, *SERVERS)


def _restart(stack: Stack, _work: Work, service: str) -> None:
    """Restarts a service in order, as an upgrade does."""
    stack.compose("restart", service)


def _freeze(stack: Stack, _work: Work, service: str) -> None:
    """Stops all processes of a service for a while: it neither answers nor closes a connection.

    By signals: the engine can be left without an end when it pauses a container whose health it is just asking for.
    """
    pids = [int(pid) for (pid,) in stack.container(service).top(ps_args="-o pid")["Processes"]]
    stack.signal_processes("STOP", *pids)
    try:
        _last()
    finally:
        stack.signal_processes("CONT", *pids)


def _stop(stack: Stack, _work: Work, service: str) -> None:
    """Stops a service's main process alone for a while; what else runs in its container goes on."""
    stack.signal("STOP", service)
    try:
        _last()
    finally:
        stack.signal("CONT", service)


def _cut(stack: Stack, _work: Work, service: str, network: str) -> None:
    """Takes a service off a network: whoever speaks to it there hears nothing more."""
    container = stack.container(service)
    joined = stack.docker.networks.get(f"{stack.project}_{network}")
    joined.disconnect(container)
    try:
        _last()
    finally:
        joined.connect(container, aliases=[service])


def _interrupt(stack: Stack, _work: Work, service: str) -> None:
    """Kills a one-shot service in the middle of its work, and runs it again."""
    first = stack.start(service)
    first.kill()
    first.wait(timeout=60)
    first.remove()
    stack.compose("run", "--rm", "--no-deps", "-T", service)


def _kill_trainer(stack: Stack, work: Work) -> None:
    """Kills all processes of the trainer's container."""
    assert isinstance(work, Command)
    work.container.kill()


def _kill_worker(stack: Stack, work: Work) -> None:
    """Kills one of the processes that a sweep has forked, as the kernel's memory killer does."""
    assert isinstance(work, Command)
    processes = work.processes()
    servers = {
        pid
        for pid, parent, command in processes
        if "forkserver" in command and parent not in {one[0] for one in processes if "forkserver" in one[2]}
    }
    workers = [pid for pid, parent, _ in processes if parent in servers]
    stack.signal_processes("KILL", int(workers[-1]))


#: What can befall, by the word for it in the matrix.
FAULTS: Mapping[str, Callable[..., None]] = {
    "killed": _kill,
    "power failure": _power,
    "restarted": _restart,
    "frozen": _freeze,
    "stopped": _stop,
    "cut off": _cut,
    "interrupted": _interrupt,
    "trainer killed": _kill_trainer,
    "worker killed": _kill_worker,
}
