"""Prints results on standard output, and messages on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_message(text: str) -> None:
    """Print a warning or a step of progress."""
    print(f"trainer: {text}", file=sys.stderr, flush=True)


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


def _print_rich_table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
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
        # A run's id is there to be copied: the name gives way first.
        table.add_column(head, justify="right" if numeric else "left", no_wrap=head == "run" or numeric)
    for row in rows:
        table.add_row(*row, style={"*": "bold green", "!": "red"}.get(row[0]))
    console.print(table)


def _wide(heads: Sequence[str], rows: Sequence[Sequence[str]], gap: int) -> int:
    """Return how many columns of a terminal a table needs at least: names, its second column, may be broken."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return sum(widths) - widths[1] + min(widths[1], _NAME) + gap * (len(heads) - 1)
