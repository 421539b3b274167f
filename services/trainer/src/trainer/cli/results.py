"""Prints what came of a command: results on standard output, remarks and progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.config.parameters import describe

if TYPE_CHECKING:
    from trainer.promotion.evaluate import Constraint, Verdict
    from trainer.registry.registry import Registration
    from trainer.runs.plan import Result
    from trainer.searches.search import SearchResult
    from trainer.sweeps.sweep import SweepResult

_HEADS = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "average_precision": "AP",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
}
#: What variants are chosen by.
_CHOICE = "val. AP"


def note(text: str) -> None:
    """Print a remark or a step of progress."""
    print(f"trainer: {text}", file=sys.stderr, flush=True)


def as_json(content: Mapping[str, Any]) -> None:
    """Print a result for programs to read."""
    print(json.dumps(content, indent=2))


def run_content(result: Result) -> dict[str, Any]:
    """Return a variant's result as plain values."""
    return {
        "name": result.name,
        "status": result.status,
        "run_id": result.run_id,
        "url": result.url,
        "model_uri": result.model_uri,
        "overrides": dict(result.overrides),
        "metrics": dict(result.metrics),
        "iterations": result.iterations,
        "seconds": dict(result.seconds),
        "reused": result.reused,
        "pruned": result.pruned,
        "error": result.error,
    }


def sweep_content(sweep: SweepResult) -> dict[str, Any]:
    """Return a sweep's result as plain values."""
    return {
        "run_id": sweep.run_id,
        "url": sweep.url,
        "best_run_id": sweep.best.run_id if sweep.best else None,
        "variants": [run_content(result) for result in sweep.results],
    }


def registered_content(registration: Registration | None) -> dict[str, Any]:
    """Return what was registered as plain values; empty where nothing was."""
    if registration is None:
        return {}
    names = ("name", "version", "created", "uri")
    return {"registered": {name: getattr(registration, name) for name in names}}


def show_registered(registration: Registration | None) -> None:
    """Print which version of the registered model the best one is."""
    if registration is not None:
        print(f"model  {registration.uri} ({'registered now' if registration.created else 'registered before'})")


def show_run(result: Result, ui_command: str | None) -> None:
    """Print a variant's figures, its run, and where to look at it."""
    metrics = result.metrics
    print(f"{result.name}")
    for name in _HEADS:
        print(f"  {_HEADS[name]:<10} {metrics[name]:.4f}")
    print(f"  {'threshold':<10} {metrics['threshold']:.4f}")
    print(f"run    {result.run_id}")
    print(f"model  {result.model_uri}")
    _show_where(result.url, ui_command)


def show_sweep(sweep: SweepResult, ui_command: str | None) -> None:
    """Print the variants as a table, the best one first in mind, and where to look at them."""
    rows = [_row(result, result is sweep.best) for result in sweep.results]
    heads = ("", "variant", _CHOICE, *(_HEADS[name] for name in _HEADS), "run")
    if sys.stdout.isatty():
        _rich_table(heads, rows, right=(_CHOICE, *_HEADS.values()))
    else:
        plain_table(heads, *rows)
    if sweep.best is not None:
        chosen = f"{sweep.best.name} (run {sweep.best.run_id})"
        print(f"best   {chosen}, by {_CHOICE}: average precision on the validation rows")
        print("       the other figures are of the test rows, and decide nothing")
    print(f"sweep  {sweep.run_id}")
    _show_where(sweep.url, ui_command)


def show_search(search: SearchResult, ui_command: str | None) -> None:
    """Print the best trials, the best one's parameters, and where to look at all of them."""
    finished = [result for result in search.results if result.status == "FINISHED"]
    best = sorted(finished, key=lambda result: -result.score)[:10]
    for result in best:
        print(f"{result.name:<10} validation AP {result.score:.4f}  F1 {result.metrics['f1']:.4f}  run {result.run_id}")
    counts = f"{len(finished)} finished, {len(search.pruned)} pruned, {len(search.failed)} failed"
    print(f"trials {counts}")
    if best:
        print(f"best   {best[0].name}: {brief(best[0].overrides)}")
    print(f"search {search.run_id} (study {search.study})")
    _show_where(search.url, ui_command)


def constraint_content(constraint: Constraint) -> dict[str, Any]:
    """Return a constraint as plain values."""
    return {
        "name": constraint.name,
        "passed": constraint.passed,
        "value": constraint.value,
        "at_most" if constraint.at_most else "at_least": constraint.bound,
        "unit": constraint.unit or None,
        "remark": constraint.remark or None,
    }


def show_constraints(verdict: Verdict) -> None:
    """Print the constraints as a table: value, bound and verdict."""
    heads = ("", "constraint", "value", "bound", "verdict", "remark")
    rows = [
        (
            "*" if one.passed else "!",
            one.name,
            _quantity(one.value, one.unit),
            bound(one),
            "satisfied" if one.passed else "FAILED",
            one.remark,
        )
        for one in verdict.constraints
    ]
    if sys.stdout.isatty():
        _rich_table(heads, rows, right=("value", "bound"))
    else:
        plain_table(heads, *rows)
    print(f"figures  {verdict.source}")


def bound(constraint: Constraint) -> str:
    """Return a constraint's bound in words; empty where it has none."""
    if constraint.bound is None:
        return ""
    return f"{'≤' if constraint.at_most else '≥'} {_quantity(constraint.bound, constraint.unit)}"


def failure(constraint: Constraint) -> str:
    """Return a failed constraint as one line."""
    value = _quantity(constraint.value, constraint.unit)
    limit = f"must be {bound(constraint)}" if constraint.bound is not None else ""
    return f"{constraint.name}: {', '.join(part for part in (value, limit, constraint.remark) if part)}"


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if not unit:
        return f"{value:.4f}"
    return f"{value:.1f} {unit}" if value < 100 and value != int(value) else f"{value:.0f} {unit}"


def brief(overrides: Mapping[str, Any]) -> str:
    """Return parameters as ``name=value`` pairs, decimals shortened to what a reader compares."""
    return describe(
        {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in overrides.items()}
    )


def _row(result: Result, best: bool) -> tuple[str, ...]:
    if result.error is not None:
        return ("!", result.name, "-", *("-" for _ in _HEADS), "failed")
    figures = (f"{result.metrics[name]:.4f}" for name in _HEADS)
    return ("*" if best else "", result.name, f"{result.score:.4f}", *figures, str(result.run_id))


#: The narrowest column of names (characters): one parameter and its value.
_NAME = 20


def plain_table(*rows: Sequence[str]) -> None:
    """Print rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    padding = 1
    if "run" in heads and _wide(heads, rows, 2 * padding + 1) > console.width:
        # Figures and half an id would be cut. The best one's run stands below, all are in the sweep.
        heads, rows, padding = heads[:-1], [row[:-1] for row in rows], 0
        if _wide(heads, rows, 1) > console.width:
            plain_table(heads, *rows)
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


def _show_where(url: str | None, ui_command: str | None) -> None:
    if url is not None:
        print(f"look   {url}")
    elif ui_command is not None:
        print(f"look   {ui_command}")
