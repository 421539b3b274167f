"""Splits the rows of a table in two: at random (by class, if there are), by time, or by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.column_roles import shown_time
from trainer.data.dataset import Table
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split_rows(table: Table, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the rows that stay and of those that are held out, both ascending.

    Args:
        table: The rows. With times, the latest are held out; with groups, whole groups are; else rows of each class,
            or any where the target is a number.
        share: The share (0 to 1) that is held out: of the rows, or of the groups.
        seed: The seed of the shuffle; a split by time has none.

    Raises:
        InputError: All rows are of one time or one group.
    """
    if table.time is not None:
        start = first_held_out(table.time, share)
        later = table.time >= start
        return np.flatnonzero(~later), np.flatnonzero(later)
    if table.group is not None:
        from sklearn.model_selection import GroupShuffleSplit

        if len(np.unique(table.group)) < 2:
            raise InputError("--group: all rows are of one group; at least two are needed")
        splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
        stay, out = next(splitter.split(np.zeros(table.rows), groups=table.group))
        return np.sort(stay).astype(np.int64), np.sort(out).astype(np.int64)
    return stratified_split(table.target, share, seed)


def stratified_split(target: NDArray[Any], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the rows that stay and of those that are held out, both ascending.

    Args:
        target: Codes of classes; or numbers, which are no classes.
        share: The share of each class (0 to 1) that is held out; at least one row of each stays and is held out.
        seed: The seed of the shuffle.
    """
    rng = np.random.default_rng(seed)
    held_out = []
    classes = np.zeros(len(target)) if target.dtype == np.float64 else target
    for label in np.unique(classes):
        positions = rng.permutation(np.flatnonzero(classes == label))
        count = min(max(round(share * len(positions)), 1), len(positions) - 1)
        # A copy: a view would hold all of them.
        held_out.append(positions[:count].copy())
    out = np.sort(np.concatenate(held_out))
    stays = np.ones(len(target), dtype=bool)
    stays[out] = False
    stay = np.flatnonzero(stays)
    return stay.astype(np.int64), out.astype(np.int64)


def first_held_out(time: NDArray[Any], share: float) -> Any:
    """Return the first time that is held out, so that about a share of the rows is; rows of one time stay together.

    Raises:
        InputError: All rows are of one time.
    """
    times, counts = np.unique(time, return_counts=True)
    if len(times) < 2:
        raise InputError("--time: all rows are of one time; at least two are needed")
    held_out = counts[::-1].cumsum()[::-1][1:] / len(time)
    return times[1:][np.argmin(np.abs(held_out - share))]


def split_parameters(train: Table, test: Table) -> dict[str, Any]:
    """Return how a table was split by time or by group, as parameters of a run."""
    if train.time is not None and test.time is not None:
        return {
            "train_first_time": shown_time(train.time.min()),
            "train_last_time": shown_time(train.time.max()),
            "test_first_time": shown_time(test.time.min()),
            "test_last_time": shown_time(test.time.max()),
        }
    if train.group is not None and test.group is not None:
        return {"groups_train": len(np.unique(train.group)), "groups_test": len(np.unique(test.group))}
    return {}
