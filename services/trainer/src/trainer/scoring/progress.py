"""Shows how far scoring is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainer.util.output import print_message

#: Seconds between two lines; a log should not be made of them.
INTERVAL = 10.0

#: Takes the rows scored so far and the share of the file (0 to 1).
Show = Callable[[int, float], None]


@contextmanager
def progress(name: str) -> Iterator[Show]:
    """Show the progress of what happens inside."""
    if sys.stderr.isatty():
        with _bar(name) as show:
            yield show
    else:
        yield _lines()


def _lines() -> Show:
    start = last = time.monotonic()

    def show(rows: int, share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= INTERVAL:
            last = now
            print_message(f"{rows:,} rows scored, {share:.0%}, {rows / (now - start):,.0f} rows/s")

    return show


@contextmanager
def _bar(name: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TextColumn("{task.fields[rows]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"scoring {name}", total=1.0, rows="")

        def show(rows: int, share: float) -> None:
            bars.update(task, completed=share, rows=f"{rows:,} rows")

        yield show
