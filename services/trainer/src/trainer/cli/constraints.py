"""Prints which constraints of a promotion policy a version satisfies, and refuses one that does not satisfy all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.util.errors import RefusedError
from trainer.util.output import print_message, print_table

if TYPE_CHECKING:
    from trainer.promotion.constraints import Constraint
    from trainer.promotion.verdict import Verdict


def constraint_content(constraint: Constraint) -> dict[str, Any]:
    """Return a constraint as plain values."""
    return {
        "name": constraint.name,
        "passed": constraint.passed,
        "value": constraint.value,
        "at_most" if constraint.at_most else "at_least": constraint.bound,
        "unit": constraint.unit or None,
        "detail": constraint.detail or None,
    }


def show_constraints(verdict: Verdict) -> None:
    """Print the constraints as a table: value, bound and verdict."""
    heads = ("", "constraint", "value", "bound", "verdict", "detail")
    rows = [
        (
            "*" if one.passed else "!",
            one.name,
            _quantity(one.value, one.unit),
            bound(one),
            "satisfied" if one.passed else "FAILED",
            one.detail,
        )
        for one in verdict.constraints
    ]
    print_table(heads, rows, right=("value", "bound"))
    print(f"metrics  {verdict.source}")


def bound(constraint: Constraint) -> str:
    """Return a constraint's bound in words; empty where it has none."""
    if constraint.bound is None:
        return ""
    return f"{'≤' if constraint.at_most else '≥'} {_quantity(constraint.bound, constraint.unit)}"


def refuse_failed(version: str, verdict: Verdict, stays: str) -> None:
    """Print a line for each constraint that is not satisfied, and refuse the version then.

    Args:
        version: What the version is called.
        verdict: How it came out.
        stays: Which version stays champion.

    Raises:
        RefusedError: A constraint is not satisfied.
    """
    if not verdict.failed:
        return
    for constraint in verdict.failed:
        print_message(f"not satisfied: {failed_constraint(constraint)}")
    raise RefusedError(
        f"{version} is refused: {len(verdict.failed)} of {len(verdict.constraints)} constraints are not satisfied;"
        f" champion stays {stays}"
    )


def failed_constraint(constraint: Constraint) -> str:
    """Return a failed constraint as one line."""
    value = _quantity(constraint.value, constraint.unit)
    limit = f"must be {bound(constraint)}" if constraint.bound is not None else ""
    return f"{constraint.name}: {', '.join(part for part in (value, limit, constraint.detail) if part)}"


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if not unit:
        return f"{value:.4f}"
    return f"{value:.1f} {unit}" if value < 100 and value != int(value) else f"{value:.0f} {unit}"
