"""Warnings on features that give the target away: copies of it, what nearly decides it, what numbers the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer.config.task import TaskName

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of more rows than this a sample is looked at.
_SAMPLE = 100_000
#: From this ROC AUC, or accuracy, on (1 is perfect), a feature nearly decides the target by itself.
_DECIDES = 0.99
#: From this rank correlation on, one nearly is the number that is predicted.
_AGREES = 0.999
_COPY = "a copy"
#: From this share of different texts on, a text names the rows: two of them may share it.
_NEARLY = 0.9
#: Fewer rows than this prove nothing.
_FEWEST = 50


def leak_warning(
    name: str, column: pd.Series, target: NDArray[Any], task: TaskName = "binary", rows: int | None = None
) -> str | None:
    """Return a warning on a training column that may give the target away, or None.

    Args:
        name: The column's name.
        column: Its values in their type.
        target: (rows,) codes of classes, or numbers.
        task: What is predicted.
        rows: Of how many rows these values are some; by default they are all.
    """
    remedy = f"leave it out (--drop {name}), unless it is known when a prediction is made"
    if (what := _names_rows(column, rows or len(column))) is not None:
        return f"column {name!r} {what}: leave it out (--drop {name})"
    if len(target) > _SAMPLE:
        chosen = np.random.default_rng(0).choice(len(target), _SAMPLE, replace=False)
        column, target = column.iloc[chosen], target[chosen]
    if (told := _told(column, target, task)) is None:
        # What is known of most rows may decide the target where it is.
        there = column.notna().to_numpy()
        told = _told(column[there], target[there], task) if len(target) > there.sum() >= len(target) / 2 else None
    if told is None:
        return None
    if told == _COPY:
        return f"column {name!r} is a copy of the target: {remedy}"
    return f"column {name!r} nearly decides the target by itself ({told}): {remedy}"


def _told(column: pd.Series, target: NDArray[Any], task: TaskName) -> str | None:
    """Return how far a column by itself tells the target, in words, if that is too far."""
    return None if len(target) < _FEWEST or len(np.unique(target)) < 2 else _TELLS[task](column, target)


def _tells_two(column: pd.Series, target: NDArray[Any]) -> str | None:
    """Return how far a column by itself tells two classes apart, in words, if that is too far."""
    scores = _scores(column, target)
    if scores is None:
        return None
    positives = int(target.sum())
    ranks = pd.Series(scores).rank().to_numpy()
    auc = (ranks[target == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(target) - positives))
    decides = max(auc, 1 - auc)
    if decides == 1.0 and len(np.unique(scores)) == 2:
        return _COPY
    return f"ROC AUC {decides:.3f}" if decides >= _DECIDES else None


def _tells_several(column: pd.Series, target: NDArray[Any]) -> str | None:
    """The same for several classes: how many rows are of the class that most rows of their value are of."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    if np.bincount(target).max() >= _DECIDES * len(target):
        return None
    if len(values) > len(column) / 20:
        right = _cut(column.to_numpy(), target) if column.dtype == np.float64 else 0
    else:
        right = int(pd.crosstab(codes, target).to_numpy().max(axis=1).sum())
        if right == len(target) and len(values) == len(np.unique(target)):
            return _COPY
    share = right / len(target)
    return f"accuracy {share:.3f}" if share >= _DECIDES else None


def _cut(numbers: NDArray[np.float64], target: NDArray[np.int64]) -> int:
    """Return how many rows are of the class of their stretch, where numbers are cut into a stretch for each class."""
    # A gap may decide as well: it is put at one end.
    numbers = np.where(np.isnan(numbers), -np.inf, numbers)
    order = np.argsort(numbers, kind="stable")
    numbers, (_, codes) = numbers[order], np.unique(target[order], return_inverse=True)
    middles = np.bincount(codes, weights=np.arange(len(codes))) / np.bincount(codes)
    stretch = np.argsort(np.argsort(middles))[codes]
    # Rows of one number are in one stretch.
    ends = np.append(numbers[1:] != numbers[:-1], True)
    called = np.zeros(len(codes), dtype=np.int64)
    for place in range(len(middles) - 1):
        below = np.where(stretch <= place, 1, -1).cumsum()
        called[np.argmax(np.where(ends, below, -len(codes))) + 1 :] += 1
    return int(np.sum(called == stretch))


def _tells_a_number(column: pd.Series, target: NDArray[Any]) -> str | None:
    """The same for a number: how the order of the rows by the column agrees with that by the target."""
    if column.dtype != np.float64 or column.isna().all() or column.nunique() < 3:
        return None
    values = column.to_numpy()
    if np.array_equal(values, target):
        return _COPY
    there = ~np.isnan(values)
    if there.sum() < _FEWEST or np.ptp(target[there]) == 0:
        return None
    agrees = abs(float(np.corrcoef(pd.Series(values[there]).rank(), pd.Series(target[there]).rank())[0, 1]))
    return f"rank correlation {agrees:.4f}" if agrees >= _AGREES else None


_TELLS: Mapping[TaskName, Callable[[pd.Series, NDArray[Any]], str | None]] = {
    "binary": _tells_two,
    "multiclass": _tells_several,
    "regression": _tells_a_number,
}


def _names_rows(column: pd.Series, rows: int) -> str | None:
    """Return how a column tells each row from all others; None where it does not, or may well mean something."""
    values = column.dropna()
    if len(values) < _FEWEST:
        return None
    if isinstance(column.dtype, pd.StringDtype):
        distinct = values.nunique()
        if distinct == len(column):
            return "has another text in each row"
        return "has another text in nearly each row" if distinct >= _NEARLY * len(values) else None
    if column.dtype != np.float64 or len(values) < len(column) or not values.is_unique:
        return None
    numbers = values.to_numpy()
    if not (np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()):
        return None
    # Amounts may be whole and different as well, but neither without holes nor in the rows' order.
    dense = numbers.max() - numbers.min() < 2 * rows
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
