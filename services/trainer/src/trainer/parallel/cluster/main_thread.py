"""The main thread of a worker's process, which runs one task at a time.

There a task ends by a signal, as a sweep's local process does: its run is tidied up and marked as KILLED.
"""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trainer.util.signals import GIVE_UP, interrupt, send_again

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: How long a task may take to end its run when this process is to stop, in seconds.
GRACE = 20.0
#: A worker that has had no task for so many seconds gives freed memory back. The next task of a sweep comes sooner.
_IDLE = 0.5


class InterruptedTaskError(Exception):
    """A task was interrupted. No KeyboardInterrupt: in a future it would end the event loop that looks at it."""


class MainThread(Executor):
    """Runs what is submitted in the thread that calls ``run``, where signals interrupt it."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        #: The numbers of the call that was submitted last, of the one that runs, and of the last one that is not wanted
        #: any more; 0 for none.
        self._submitted = self._running = self._unwanted = 0
        self._stopping = self._interrupted = self.lost = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``run``'s thread call a function."""
        future: Future[Any] = Future()
        self._submitted = number = self._submitted + 1

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            answer = error = None
            self._interrupted = False
            try:
                self._running = number
                try:
                    if self._unwanted == number:
                        raise KeyboardInterrupt
                    answer = function(*args, **kwargs)
                finally:
                    self._running = 0
            except Exception as raised:  # noqa: BLE001 - goes to whoever waits for it
                error = raised
            except BaseException as raised:  # noqa: BLE001 - a signal may come when the function has ended already
                self._running, error = 0, InterruptedTaskError(repr(raised))
            # From here on no signal interrupts: half set, a future would be waited for without end.
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

        self._calls.put(call)
        return future

    def run(self) -> None:
        """Call one function after the other, until a signal or ``stop`` ends it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(GIVE_UP, self._give_up)
        while not self._stopping and (call := self._next()) is not None:
            call()

    def interrupt(self) -> None:
        """Interrupt the call that runs, or the one that is about to begin; others follow it."""
        self._unwanted = self._running or self._submitted
        _signal(GIVE_UP)

    def stop(self, lost: bool = False) -> None:
        """End ``run``: at once between calls, else when the call has been interrupted and has tidied up.

        Args:
            lost: Whether that is because the cluster is gone.
        """
        self.lost |= lost
        if not self._stopping:
            threading.Timer(GRACE, os._exit, (1,)).start()
            self._stopping = True
            self._calls.put(None)
            _signal(signal.SIGTERM)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the process ends."""

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._calls.get(timeout=_IDLE)
        except queue.Empty:
            give_back_memory()
            return self._calls.get()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
        self._calls.put(None)
        self._interrupt(number, frame)

    def _give_up(self, number: int, frame: object) -> None:
        # The one that it is for may have ended meanwhile.
        if self._running == self._unwanted:
            self._interrupt(number, frame)

    def _interrupt(self, number: int, frame: object) -> None:
        # Once: what tidies up is not interrupted.
        if self._running and not self._interrupted:
            self._interrupted = True
            interrupt(number, frame)

    def send_again(self, dropped: UnraisableHookArgs) -> None:
        """Interrupt once more where Python has dropped the exception; see ``util.signals.send_again``."""
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            self._interrupted = False
        send_again(dropped)


def _signal(number: signal.Signals) -> None:
    # To this very thread: another one might take a signal to the process, and the call would sleep on.
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def give_back_memory() -> None:
    """Return what tasks have freed to the system: an idle worker otherwise keeps it."""
    gc.collect()
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
