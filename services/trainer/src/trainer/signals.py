"""Ctrl-C and termination signals: both end a command in the same orderly way, and neither ends the tidying up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def interrupt(number: int, _frame: object) -> None:
    """Raise KeyboardInterrupt, with the signal's name as its message: a signal handler."""
    raise KeyboardInterrupt(signal.Signals(number).name)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a termination signal end what happens inside the way Ctrl-C does, so that runs are marked KILLED."""
    with _handling({signal.SIGTERM: interrupt, signal.SIGINT: interrupt}):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore both signals: a second Ctrl-C must not keep runs from being ended."""
    with _handling({signal.SIGTERM: signal.SIG_IGN, signal.SIGINT: signal.SIG_IGN}):
        yield


@contextmanager
def _handling(handlers: dict[signal.Signals, Callable[[int, Any], Any] | signal.Handlers]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set handlers, and only it receives signals.
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
