"""Shows how far the running variants are: live lines on a terminal, one line a finished variant otherwise.

The variants' processes report through a datagram socket: sending costs microseconds and never waits; what the display
cannot keep up with is lost, which does a display no harm.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

#: A variant reports at most so often, in seconds: faster than a reader, far slower than LightGBM.
INTERVAL = 0.2
_LARGEST = 4096
_NAME_WIDTH = 44


@dataclass(frozen=True)
class Step:
    """How far a variant is: ``done`` of ``total`` iterations, with the validation loss after the last."""

    index: int
    name: str
    done: int
    total: int
    loss: float | None

    def fields(self) -> list[Any]:
        """Return what a message carries."""
        return [self.index, self.name[:500], self.done, self.total, self.loss]


#: Takes a report where the display is on another machine: a cluster's worker sets it.
relay: Callable[[Step], None] | None = None


class Reporter:
    """A LightGBM callback that reports the variant's progress to the process that shows it."""

    order = 20
    before_iteration = False

    def __init__(self, address: str, index: int, name: str) -> None:
        self._address, self._index, self._name = address, index, name
        self._next = 0.0
        self._socket: socket.socket | None = None

    def __call__(self, state: Any) -> None:
        """Report, unless the last report is too recent."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + INTERVAL
        # Here: the display of a command, which imports this module as well, needs none of it.
        from trainer.training.iteration_metrics import loss_of

        self.send(Step(self._index, self._name, state.iteration + 1, state.end_iteration, loss_of(state)))

    def send(self, step: Step) -> None:
        """Send a report, or drop it where nobody listens or the listener is busy."""
        if relay is not None:
            relay(step)
            return
        with suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            message = json.dumps(step.fields())
            self._socket.sendto(message.encode(), self._address)


@contextmanager
def own_address() -> Iterator[str]:
    """Yield an address to report to; reports are dropped until somebody listens there."""
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        yield str(Path(folder) / "progress")


@contextmanager
def listening(show: Callable[[Step], None], address: str) -> Iterator[str | None]:
    """Yield the address to report to, and call ``show`` with each report, from a thread of its own.

    Yields None where the system has no such sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        try:
            listener.bind(address)
        except OSError:  # the folder's path is too long for a socket's address
            yield None
            return

        def listen() -> None:
            while message := listener.recv(_LARGEST):
                with suppress(ValueError, TypeError):
                    show(Step(*json.loads(message)))

        thread = threading.Thread(target=listen, name="trainer-progress", daemon=True)
        thread.start()
        try:
            yield address
        finally:
            # Bounded: where the display has failed, nobody reads any more.
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.settimeout(0.5)
                last.sendto(b"", address)
            thread.join(2)


class Display:
    """Live lines at the bottom of a terminal: one a running variant, and one for all together."""

    def __init__(self, console: Console, total: int, noun: str, done: int = 0) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}", justify="right"),
            TextColumn("{task.fields[remark]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=5,
        )
        self._lock = threading.Lock()
        self._lines: dict[int, TaskID] = {}
        self._ended: set[int] = set()
        self._all = self._progress.add_task(f"all {noun}", total=total, completed=done, remark="")

    def show(self, step: Step) -> None:
        """Show how far a variant is."""
        with self._lock:
            if step.index in self._ended:  # a report that arrives after the result
                return
            line = self._lines.get(step.index)
            if line is None:
                name = step.name if len(step.name) <= _NAME_WIDTH else step.name[: _NAME_WIDTH - 1] + "…"
                line = self._lines[step.index] = self._progress.add_task(name, total=step.total, remark="")
            remark = "" if step.loss is None else f"loss {step.loss:.4f}"
            self._progress.update(line, completed=step.done, remark=remark)

    def end(self, index: int) -> None:
        """Remove a variant's line, and count it as done."""
        with self._lock:
            self._ended.add(index)
            if (line := self._lines.pop(index, None)) is not None:
                self._progress.remove_task(line)
            self._progress.advance(self._all)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


@dataclass(frozen=True)
class View:
    """What a command shows while variants run: where they report to, and what is called when one has ended."""

    address: str | None = None
    end: Callable[[int], None] = lambda _index: None
    #: Shows a report; None where there is no display.
    show: Callable[[Step], None] | None = None


@contextmanager
def view(
    total: int, noun: str = "variants", done: int = 0, console: Console | None = None, address: str | None = None
) -> Iterator[View]:
    """Show progress while what is inside runs, if standard error is a terminal; a plain output gets no live lines.

    Args:
        total: How many variants there are.
        noun: What they are called.
        done: How many of them are done already.
        console: Where to show it; standard error by default.
        address: Where variants report to, if some have begun already; by default one of the view's own.
    """
    if console is None:
        if not sys.stderr.isatty():
            yield View()
            return
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        if console.is_dumb_terminal:
            yield View()
            return
    display = Display(console, total, noun, done)
    with ExitStack() as stack:
        address = address or stack.enter_context(own_address())
        stack.enter_context(display)
        yield View(stack.enter_context(listening(display.show, address)), display.end, display.show)
