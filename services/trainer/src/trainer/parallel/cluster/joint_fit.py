"""A worker's part of a fit that all workers make together: it starts the process that fits, and watches it."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from trainer.parallel.cluster.remote_task import PROCESS, worker_name
from trainer.parallel.pool import TaskDiedError
from trainer.util.errors import TrainerError
from trainer.util.signals import ignore_signals

#: How often to look whether the process has died, and whether the others have come, in seconds.
_LOOK, _ASK = 0.2, 0.3


@dataclass(frozen=True)
class Place:
    """A worker's place in a fit: its number, and the parcels of its rows and of the work."""

    number: int
    part: str
    work: str


@dataclass(frozen=True)
class Here:
    """What a worker tells its client when its rows are binned: its number, and where the others reach it.

    The client answers with the addresses of all, or with None as long as some are missing.
    """

    number: int
    address: str


def fit_part(place: Place, _shared: Any) -> Any:
    """Fit a model together with the other workers; return the model's digest, and the first worker the model too.

    Raises:
        TaskDiedError: The process that fits has died.
    """
    channel = PROCESS.channel
    if channel is None:
        raise TrainerError("no cluster's worker runs this task")
    with _child() as child:
        child.give(channel.fetch(place.part))
        child.give(channel.fetch(place.work))
        child.give(pickle.dumps(place.number == 0))
        port = child.take()
        if isinstance(port, tuple):
            return _outcome(port)
        here = Here(place.number, f"{channel.host()}:{port}")
        while (machines := PROCESS.ask_client(here)) is None:
            child.check()
            time.sleep(_ASK)
        child.give(pickle.dumps(machines))
        return _outcome(child.take())


def _outcome(outcome: tuple[Any, Exception | None]) -> Any:
    answer, error = outcome
    if error is not None:
        raise error
    return answer


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self._process, self._connection = process, connection

    def give(self, content: bytes | memoryview) -> None:
        try:
            self._connection.send_bytes(content)
        except OSError:
            raise self._died() from None

    def take(self) -> Any:
        """Wait for what it sends next."""
        while not self._connection.poll(_LOOK):
            self.check()
        try:
            return pickle.loads(self._connection.recv_bytes())  # noqa: S301 - of this worker's own process
        except (EOFError, OSError):
            raise self._died() from None

    def check(self) -> None:
        if self._process.poll() is not None and not self._connection.poll():
            raise self._died()

    @staticmethod
    def _died() -> TaskDiedError:
        return TaskDiedError(f"the process that fits on worker {worker_name()} died (out of memory, perhaps)")


@contextmanager
def _child() -> Iterator[_Child]:
    ours, theirs = multiprocessing.Pipe()
    program = [sys.executable, "-m", "trainer.parallel.cluster.fit_child", str(theirs.fileno()), worker_name()]
    # LightGBM prints to the standard output what nobody wants to know.
    process = subprocess.Popen(program, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        theirs.close()
        yield _Child(process, ours)
    finally:
        with ignore_signals():
            process.kill()
            process.wait()
            ours.close()
