"""Runs one function in a fork of this process, at the same time as this process goes on.

Nothing is pickled on the way there, and memory that neither writes to is shared. Where that is not safe or gains
nothing, ``can_fork`` says so: the function is then called as ever.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from trainer.parallel.pool import TaskDiedError, end_with_parent, interrupt_blocked
from trainer.util.processors import available_cpus
from trainer.util.signals import defer_signals, ignore_signals

Answer = TypeVar("Answer")


def can_fork() -> bool:
    """Tell whether a fork is safe and gains something: a second processor, no other thread, and Linux's fork.

    On macOS a forked process crashes when it asks the system for anything.
    """
    return sys.platform == "linux" and threading.active_count() == 1 and available_cpus() > 1


@dataclass(frozen=True)
class ForkedCall(Generic[Answer]):
    """A function that runs in a fork. Any process of the command that has this may wait for its answer, once."""

    #: A socket in a folder that only this user reaches.
    address: str

    @property
    def exists(self) -> bool:
        """Whether there is, or was, a process that answers."""
        return Path(self.address).exists()

    def result(self) -> Answer:
        """Wait for the function's end, and return what it returned or raise what it raised.

        Raises:
            TaskDiedError: Its process has died.
        """
        content = b""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as caller:
            caller.connect(self.address)
            with caller.makefile("rb") as stream:
                content = stream.read()
        if not content:
            raise TaskDiedError("the process of the fit died; the system may have run out of memory")
        answer, error = pickle.loads(content)  # noqa: S301 - from a fork of this command's process
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]


@contextmanager
def call_in_fork(function: Callable[[], Answer]) -> Iterator[ForkedCall[Answer]]:
    """Run a function in a fork of this process; at the exit it is ended if it still runs.

    Args:
        function: Called in the fork. What it returns or raises is pickled.

    Raises:
        OSError: The system refuses a socket or a process; the path of the folder for temporary files is too long.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        address = str(Path(folder) / "answer")
        # It listens before the fork: whoever asks early waits.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(1)
            # Not a daemon's: a fit may have processes of its own.
            context = multiprocessing.get_context("fork")
            process = context.Process(target=_run, args=(function, listener), name="forked-call")
            try:
                # One that is half started could not be ended: nobody would know of it yet.
                with defer_signals(), interrupt_blocked():
                    process.start()
                listener.close()
                yield ForkedCall(address)
            finally:
                with ignore_signals():
                    # Nobody waits for an answer any more: it has none to tidy up for.
                    if process.pid is not None:
                        process.kill()
                        process.join()


def _run(function: Callable[[], Answer], listener: socket.socket) -> None:
    """Call the function in the fork, which leaves signals to its parent and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    send_answer(function, listener)


def send_answer(function: Callable[[], Any], listener: socket.socket) -> None:
    """Call the function, and give what it returns or raises to whoever asks first (``ForkedCall.result``)."""
    try:
        answer = pickle.dumps((function(), None), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its outcome
        answer = pickle.dumps((None, error))
    # Who waits for it may have ended meanwhile.
    with suppress(OSError):
        caller, _ = listener.accept()
        with caller:
            caller.sendall(answer)
