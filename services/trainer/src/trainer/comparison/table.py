"""Prints a comparison as a table: runs side by side while they fit, and else one below the other.

Where neither fits into a terminal, runs are numbered, and the table's columns stand in blocks below each other.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from trainer.comparison.compared_runs import ComparedRun, Comparison, number
from trainer.config.selection_metric import OF_A_CLASS
from trainer.config.task import TASKS
from trainer.util.output import print_message, print_plain_table
from trainer.util.text import one_line, short_numbers

#: Where runs stand one below the other, there is room for these only; all are in the JSON and in the report.
_NARROW = frozenset(
    {
        *("validation_average_precision", "validation_log_loss", "validation_rmse"),
        *(name for task in TASKS.values() for name in task.metrics),
    }
)
_PLAIN_WIDTH = 160
_NAME = 28

#: A cell's text, and whether it is the best of its metric.
Cell = tuple[str, bool]


def content(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "title": comparison.title,
        "differing_params": comparison.differing,
        "warnings": comparison.warnings,
        "best": {name: sorted(best) for name in comparison.metrics if (best := comparison.best(name))},
        "runs": [
            {
                "run_id": run.run_id,
                "name": run.name,
                "status": run.status,
                "url": run.url,
                "params": dict(run.params),
                # JSON has neither NaN nor infinity.
                "metrics": {name: value if math.isfinite(value) else None for name, value in run.metrics.items()},
            }
            for run in comparison.runs
        ],
    }


def show(comparison: Comparison) -> None:
    """Print the parameters that differ, and the metrics with the best marked."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _PLAIN_WIDTH
    # There may be hundreds of classes: what each has by itself is in the JSON and in the report.
    metrics = [name for name in comparison.metrics if not name.startswith(tuple(f"{of}/" for of in OF_A_CLASS))]
    rows = _rows(comparison, metrics)
    if _wide(rows) > width:
        wanted = [name for name in metrics if name in _NARROW] or metrics[:6]
        below = _turned(_rows(comparison, wanted))
        rows = min(below, rows, key=_wide) if terminal else below
    if terminal:
        # What fits neither way would be squeezed into columns of a letter.
        fits = _wide(rows, _NAME) + len(rows[0]) <= width
        for block in [rows] if fits else _blocks(comparison, metrics, width):
            _rich(block)
    else:
        print_plain_table(*([text for text, _ in row] for row in rows))
    if not comparison.differing and len(comparison.runs) > 1:
        print("no parameter differs")
    if any(comparison.best(name) for name in comparison.metrics):
        print("* best of its metric")
    for warning in comparison.warnings:
        print_message(warning)
    if comparison.ordered_by is not None:
        print(f"ordered by {comparison.ordered_by}")


def _wide(rows: Sequence[Sequence[Cell]], edge: int | None = None) -> int:
    """Return how many columns of a terminal a table needs; heads and names may be broken to ``edge`` letters."""

    def width(row: int, column: int) -> int:
        letters = len(rows[row][column][0])
        return letters if edge is None or (row and column) else min(letters, edge)

    return sum(max(width(row, column) for row in range(len(rows))) + 2 for column in range(len(rows[0])))


def _rows(comparison: Comparison, metrics: Sequence[str]) -> list[list[Cell]]:
    """Return the table with a column for each run."""
    runs = comparison.runs
    rows: list[list[Cell]] = [[("", False), *((short_numbers(run.name), False) for run in runs)]]
    rows.append([("run", False), *((run.run_id, False) for run in runs)])
    if any(run.status != "FINISHED" for run in runs):
        rows.append([("status", False), *((run.status, False) for run in runs)])
    for name in comparison.differing:
        rows.append([(name, False), *(_value(comparison, run, name) for run in runs)])
    for name in metrics:
        best = comparison.best(name)
        cells = [
            (number(run.metrics[name]) + (" *" if run.run_id in best else ""), run.run_id in best)
            if name in run.metrics
            else ("-", False)
            for run in runs
        ]
        rows.append([(one_line(name, 60), False), *cells])
    return rows


def _blocks(comparison: Comparison, metrics: Sequence[str], width: int) -> list[list[list[Cell]]]:
    """Return tables that fit into a terminal: the runs, each with a number, and then what they have under these."""
    runs = comparison.runs
    numbers: list[Cell] = [("", False), *((f"{place}", False) for place in range(1, len(runs) + 1))]
    rows = _rows(comparison, metrics)
    split = len(rows) - len(metrics) - len(comparison.differing)
    head, params, scores = rows[:split], rows[split : len(rows) - len(metrics)], rows[len(rows) - len(metrics) :]
    names, *others = head
    listed = _turned([numbers, *others, names])
    # The name is last, and has the room that is left: what it says is among the parameters, too.
    room = max(width - _wide([row[:-1] for row in listed]) - len(listed[0]) - 2, 8)
    listed = [[*row[:-1], (one_line(row[-1][0], room) if row[-1][0] else "name", False)] for row in listed]
    beside = [numbers, *scores, *params]
    return [listed, *min((_broken(beside, width), _broken(_turned(beside), width)), key=_lines)]


def _broken(rows: list[list[Cell]], width: int) -> list[list[list[Cell]]]:
    """Return a table in blocks of as many columns as fit, each beside the first column."""
    first, *columns = _turned(rows)
    blocks = []
    while columns:
        block = [first, columns.pop(0)]
        while columns and _wide(wider := _turned([*block, columns[0]])) + len(wider[0]) <= width:
            block.append(columns.pop(0))
        blocks.append(_turned(block))
    return blocks


def _turned(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Return a table with its rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


def _lines(blocks: Sequence[Sequence[Sequence[Cell]]]) -> int:
    """Return how many lines tables take, about."""
    return sum(len(rows) + 3 for rows in blocks)


def _value(comparison: Comparison, run: ComparedRun, name: str) -> Cell:
    value = run.params.get(name, "-")
    return one_line(comparison.shown_param(name, value) or '""', 40), False


def _rich(rows: list[list[Cell]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text, not markup: a run's name may hold square brackets.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for text, _ in rows[0]:
        # A run's id is there to be copied.
        table.add_column(Text(text), overflow="fold")
    for row in rows[1:]:
        table.add_row(*(Text(text, style="bold green" if best else "") for text, best in row))
    Console(highlight=False).print(table)
