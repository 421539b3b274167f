"""Warnings on features that give the target away: copies of it, what nearly decides it, what numbers the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of more rows than this a sample is looked at.
_SAMPLE = 100_000
#: From this ROC AUC on (1 is perfect), a feature nearly decides the target by itself.
_DECIDES = 0.99
#: Fewer rows than this prove nothing.
_FEWEST = 50


def leak_warning(name: str, column: pd.Series, target: NDArray[np.int64]) -> str | None:
    """Return a warning on a training column that may give the target away, or None.

    Args:
        name: The column's name.
        column: Its values in their type.
        target: (rows,) classes, 0 and 1.
    """
    remedy = f"leave it out (--drop {name}), unless it is known when a prediction is made"
    if (what := _names_rows(column)) is not None:
        return f"column {name!r} {what}: leave it out (--drop {name})"
    if len(target) > _SAMPLE:
        chosen = np.random.default_rng(0).choice(len(target), _SAMPLE, replace=False)
        column, target = column.iloc[chosen], target[chosen]
    scores = _scores(column, target)
    if scores is None or len(target) < _FEWEST or len(np.unique(target)) < 2:
        return None
    positives = int(target.sum())
    ranks = pd.Series(scores).rank().to_numpy()
    auc = (ranks[target == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(target) - positives))
    decides = max(auc, 1 - auc)
    if decides == 1.0 and len(np.unique(scores)) == 2:
        return f"column {name!r} is a copy of the target: {remedy}"
    if decides >= _DECIDES:
        return f"column {name!r} nearly decides the target by itself (ROC AUC {decides:.3f}): {remedy}"
    return None


def _names_rows(column: pd.Series) -> str | None:
    """Return how a column tells each row from all others; None where it does not, or may well mean something."""
    values = column.dropna()
    if len(values) < _FEWEST or len(values) < len(column) or not values.is_unique:
        return None
    if column.dtype != np.float64:
        return "has another text in each row" if isinstance(column.dtype, pd.StringDtype) else None
    numbers = values.to_numpy()
    if not (np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()):
        return None
    # Amounts may be whole and different as well, but neither without holes nor in the rows' order.
    dense = numbers.max() - numbers.min() < 2 * len(numbers)
    steps = np.diff(numbers)
    return "numbers the rows" if dense or (steps > 0).all() or (steps < 0).all() else None


def _scores(column: pd.Series, target: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the column as numbers that a tree could order the rows by."""
    if column.dtype == np.float64:
        numbers = column.to_numpy()
        # A gap may decide as well: it is put at one end.
        return np.where(np.isnan(numbers), -np.inf, numbers)
    codes, categories = pd.factorize(column, use_na_sentinel=False)
    if len(categories) > len(column) / 20:
        return None
    shares = np.bincount(codes, weights=target) / np.bincount(codes)
    return shares[codes].astype(np.float64)
