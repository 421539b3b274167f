"""Prints results on standard output, and messages on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any


def print_message(text: str) -> None:
    """Print a warning or a step of progress."""
    print(f"trainer: {text}", file=sys.stderr, flush=True)


def print_start(text: str) -> None:
    """Print what begins, on a terminal: someone waits there, and the imports before the first result take a second."""
    if sys.stderr.isatty():
        print_message(text)


def print_json(content: Mapping[str, Any]) -> None:
    """Print a result for programs to read."""
    print(json.dumps(content, indent=2))


#: The narrowest column of names (characters): one parameter and its value.
_NAME = 20


def print_plain_table(*rows: Sequence[str]) -> None:
    """Print rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    """Print rows whose first cell marks the best ("*") and what failed ("!"): in colour on a terminal, else plainly."""
    if sys.stdout.isatty():
        print_rich_table(heads, rows, right=right)
    else:
        print_plain_table(heads, *rows)


def print_rich_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    whole: Collection[str] = ("run",),
    styles: Sequence[str | None] | None = None,
) -> None:
    """Print a table on a terminal.

    Args:
        heads: The columns' names.
        rows: The cells; text, in which square brackets mean nothing.
        right: The columns of numbers.
        whole: The columns whose cells are not broken: a run's id is there to be copied.
        styles: Each row's style; by default that of the mark in its first cell.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    padding = 1
    if "run" in heads and _wide(heads, rows, 2 * padding + 1) > console.width:
        # Metrics and half an id would be cut. The best one's run stands below, all are in the sweep.
        heads, rows, padding = heads[:-1], [row[:-1] for row in rows], 0
        if _wide(heads, rows, 1) > console.width:
            print_plain_table(heads, *rows)
            return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, padding))
    for head in heads:
        numeric = head in right
        table.add_column(head, justify="right" if numeric else "left", no_wrap=head in whole or numeric)
    marks = {"*": "bold green", "!": "red"}
    for row, style in zip(rows, styles or [marks.get(row[0]) for row in rows], strict=True):
        table.add_row(*row, style=style)
    console.print(table)


def _wide(heads: Sequence[str], rows: Sequence[Sequence[str]], gap: int) -> int:
    """Return how many columns of a terminal a table needs at least: names, its second column, may be broken."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return sum(widths) - widths[1] + min(widths[1], _NAME) + gap * (len(heads) - 1)
