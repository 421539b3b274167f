"""Warnings on columns that a table should rather be split by: times, and identifiers that repeat across the split."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Fewer distinct values than this tell nothing.
_FEWEST = 50
#: An identifier repeats when at least this share of the test rows has a value that training rows have as well,
_SHARED = 0.2
#: and its values are of few rows each: this share of the rows, or more, would be distinct.
_DISTINCT = 0.02
#: Test rows are copies of training rows when at least this share of them is among these,
_COPIED = 0.05
#: and when training rows are hardly ever like each other: at least this share of them is distinct.
_UNLIKE = 0.9
#: How identifiers are called. A number may well be a measurement, so its name has to say that it is one.
_NAME = re.compile(r"(?:^|[_\W])(?i:id|uuid|guid)$|[a-z](?:Id|ID)$", re.ASCII)
#: Unix times from September 2001 to 2096, in seconds, milliseconds, microseconds and nanoseconds.
_UNIX = [(1e9 * unit, 4e9 * unit) for unit in (1, 1e3, 1e6, 1e9)]


def split_warning(name: str, train: pd.Series, test: pd.Series) -> str | None:
    """Return a warning on a column by which the rows should perhaps be split, or None.

    Args:
        name: The column's name.
        train: Its values in the training rows, in their type.
        test: Its values in the test rows, which were drawn at random.
    """
    known = train.dropna()
    if known.nunique() < _FEWEST:
        return None
    if is_unix_time(known) or _is_date(known):
        return f"column {name!r} looks like a time: --time {name} tests on what came after"
    if _is_identifier(name, train, known) and (shared := float(test.isin(known.unique()).mean())) >= _SHARED:
        return (
            f"column {name!r} looks like an identifier that repeats: {shared:.0%} of the test rows have one that"
            f" training rows have as well (--group {name} keeps them apart)"
        )
    return None


def shared_rows_warning(known: NDArray[np.uint32], asked: NDArray[np.uint32]) -> str | None:
    """Return a warning on test rows in a file of their own that are among the training rows, or None.

    Args:
        known: The hashes of the training rows' features, see ``row_hashes``.
        asked: Those of the test rows.
    """
    distinct = np.unique(known)
    shared = np.isin(asked, distinct)
    # Where many rows are alike, so are rows that were never copied.
    if len(distinct) < _UNLIKE * len(known) or shared.mean() < _COPIED:
        return None
    return (
        f"{int(shared.sum()):,} of the {len(asked):,} test rows ({shared.mean():.0%}) are training rows too: the test"
        " metrics are too good for them; leave them out of one of the files"
    )


def is_unix_time(values: pd.Series) -> bool:
    """Tell whether all values are whole numbers that are times of our days in one unit."""
    if values.dtype != np.float64:
        return False
    low, high = values.min(), values.max()
    return any(first <= low and high < last for first, last in _UNIX) and bool((values == np.floor(values)).all())


def _is_date(values: pd.Series) -> bool:
    """Tell whether all values are dates that are written as whole numbers, such as 20241231."""
    # Nearly all columns of numbers end here: a wide table has thousands.
    if values.dtype != np.float64 or values.min() < 19_000_101 or values.max() > 21_001_231:
        return False
    days, months = values % 100, values // 100 % 100
    return bool((days.isin(range(1, 32)) & months.between(1, 12)).all())


def _is_identifier(name: str, train: pd.Series, known: pd.Series) -> bool:
    if train.dtype == np.float64:
        return bool(_NAME.search(name)) and bool((known == np.floor(known)).all())
    if not isinstance(train.dtype, pd.StringDtype):
        return False
    return known.nunique() >= _DISTINCT * len(train) or bool(_NAME.search(name))
