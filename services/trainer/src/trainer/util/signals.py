"""Ctrl-C and termination signals: both end a command in the same orderly way, and neither ends the tidying up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: Gives a task up, in a process that runs others after it (``parallel.cluster.main_thread``). Windows has none.
GIVE_UP: signal.Signals = getattr(signal, "SIGUSR1", signal.SIGTERM)
#: The signals that end a command or a task.
_ALL = (signal.SIGTERM, signal.SIGINT, GIVE_UP)
#: After how many seconds a signal is sent again whose exception was lost.
_AGAIN = 0.05


#: The name of the signal for which KeyboardInterrupt was raised last, since ``interruptible`` began.
_raised: str | None = None


def interrupt(number: int, _frame: object) -> None:
    """Raise KeyboardInterrupt, with the signal's name as its message: a signal handler."""
    global _raised
    _raised = signal.Signals(number).name
    raise KeyboardInterrupt(_raised)


def raised_interrupt() -> KeyboardInterrupt | None:
    """Return the interrupt that was raised since ``interruptible`` began, if any.

    An error that comes after it is its consequence: C code that imports a module, as pyarrow does with pandas, drops
    what was raised meanwhile, and says that there is no such module.
    """
    return KeyboardInterrupt(_raised) if _raised is not None else None


def exit_code(interrupt: BaseException) -> int:
    """Return what a process ends with after a signal, as shells count: 128 and the signal's number."""
    return 128 + (signal.SIGTERM if signal.SIGTERM.name in str(interrupt) else signal.SIGINT)


def send_again(lost: UnraisableHookArgs) -> None:
    """Send a signal once more whose KeyboardInterrupt was lost: what ``sys.unraisablehook`` may be set to.

    Python drops what is raised while it runs a weak reference's callback or an object's ``__del__``, and a signal may
    well arrive there.
    """
    if isinstance(lost.exc_value, KeyboardInterrupt):
        number = signal.Signals.__members__.get(str(lost.exc_value), signal.SIGINT)
        timer = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a termination signal end what happens inside the way Ctrl-C does, so that runs are marked KILLED."""
    global _raised
    _raised = None
    hook, sys.unraisablehook = sys.unraisablehook, send_again
    try:
        with _handling({signal.SIGTERM: interrupt, signal.SIGINT: interrupt}):
            yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore these signals: a second Ctrl-C must not keep runs from being ended."""
    with _handling(dict.fromkeys(_ALL, signal.SIG_IGN)):
        yield


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let these signals take effect only after what happens inside: it is not cut short, and no signal is lost.

    Blocking them would not do: any other thread of the process may receive them, and the main thread then acts on it.
    """
    came: list[int] = []
    try:
        with _handling(dict.fromkeys(_ALL, lambda number, _frame: came.append(number))):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


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
