"""Runs one function in a fork of this process, which has its imports and its data, while this one goes on.

Nothing is pickled on the way there, and memory that neither writes to is shared. Where that is not safe or gains
nothing, ``can_fork`` says so: the function is then called as ever.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

from trainer.parallel.pool import TaskDiedError, end_with_parent, interrupt_blocked
from trainer.util.processors import available_cpus
from trainer.util.signals import defer_signals, ignore_signals

Answer = TypeVar("Answer")


def can_fork() -> bool:
    """Tell whether a fork is safe and gains something: a second processor, no other thread, and Linux's fork.

    On macOS a forked process crashes when it asks the system for anything.
    """
    return sys.platform == "linux" and threading.active_count() == 1 and available_cpus() > 1


class Beside(Generic[Answer]):
    """A function that runs beside this process."""

    def __init__(self, receive: Connection) -> None:
        self._receive = receive

    def result(self) -> Answer:
        """Wait for the function's end, and return what it returned or raise what it raised; once.

        Raises:
            TaskDiedError: Its process has died.
        """
        try:
            answer, error = pickle.loads(self._receive.recv_bytes())  # noqa: S301 - from this process's own fork
        except EOFError:
            raise TaskDiedError("the process of the fit died; the system may have run out of memory") from None
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]


@contextmanager
def beside(function: Callable[[], Answer]) -> Iterator[Beside[Answer]]:
    """Run a function in a fork of this process; at the exit it is ended if it still runs.

    Args:
        function: Called in the fork. What it returns or raises is pickled.
    """
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    # Not a daemon's: a fit may have processes of its own.
    process = context.Process(target=_run, args=(function, receive, send), name="beside")
    try:
        # One that is half started could not be ended: nobody would know of it yet.
        with defer_signals(), interrupt_blocked():
            process.start()
        send.close()
        yield Beside(receive)
    finally:
        with ignore_signals():
            # Nobody waits for an answer any more: it has none to tidy up for.
            process.kill()
            process.join()
            receive.close()


def _run(function: Callable[[], Answer], receive: Connection, send: Connection) -> None:
    """Call the function in the fork, which leaves signals to its parent and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    receive.close()
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    try:
        answer = pickle.dumps((function(), None), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its outcome
        answer = pickle.dumps((None, error))
    send.send_bytes(answer)
