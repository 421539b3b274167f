"""What messages say of the values of a column that are wrong: how many there are, and where the first of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def some_of(rows: NDArray[Any], number: int) -> str:
    """Return how many rows are wrong, of how many: ``2 of 600``.

    Args:
        rows: The positions of the wrong ones.
        number: How many rows there are.
    """
    return f"{len(rows):,} of {number:,}"


def first_of(rows: NDArray[Any], value: str | None = None) -> str:
    """Return where the first wrong value is: ``(the first in row 3: x)``.

    Args:
        rows: The positions of the wrong ones, ascending.
        value: The first of them, as messages show it.
    """
    return f"(the first in row {rows[0] + 1:,}{'' if value is None else f': {value}'})"
