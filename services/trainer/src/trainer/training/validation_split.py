"""The rows to fit to and those held out for validation: at random, by time, or by group, as the test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.dataset import Dataset, Table
from trainer.data.row_split import split_rows
from trainer.util.errors import InputError
from trainer.util.text import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The positions of the rows that stay, and of those that are held out.
Split = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def check_splits(dataset: Dataset, *, seed: int, validation_size: float, folds: int) -> None:
    """Check that the validation rows, or those of each fold, and the rows fitted to can be of both classes.

    Raises:
        InputError: The training rows are too few, or times or groups part the classes.
    """
    table = dataset.train
    for option, values in (("--time", table.time), ("--group", table.group)):
        if values is not None and not folds and len(np.unique(values)) < 2:
            raise InputError(
                f"{option}: all {table.rows:,} training rows are of one {option[2:]}, so that none can be held out for"
                " validation; another --test-size may leave more"
            )
    if not table.has_classes:
        if folds > table.rows:
            raise InputError(f"--cv: {folds} folds are too many for {table.rows} training rows")
        if folds:
            fold_splits(table, folds, seed)
        return
    least = min(int(count) for count in np.bincount(table.target, minlength=len(dataset.classes)))
    if folds > least:
        raise InputError(
            f"--cv: {folds} folds are too many: the training rows hold {least} of the rarer class, and each fold needs"
            f" at least one; {f'give at most {least}' if least > 1 else 'leave it out'}"
        )
    if table.time is None and table.group is None:
        return
    option = "--time" if table.group is None else "--group"
    splits = fold_splits(table, folds, seed) if folds else [split_rows(table, validation_size, seed)]
    for number, split in enumerate(splits, 1):
        for rows, what in zip(split, ("fitted to", "held out for validation"), strict=True):
            where = f" in fold {number}" if folds else ""
            found = np.unique(table.target[rows])
            if len(dataset.classes) > 2 and len(found) < (len(dataset.classes) if rows is split[0] else 2):
                lacking = [str(name) for code, name in enumerate(dataset.classes) if code not in found]
                raise InputError(
                    f"{option}: the {len(rows):,} rows {what}{where} lack the classes {listed(lacking)}"
                    f" ({'fewer folds (--cv)' if folds else 'another --validation-size'} may give them)"
                )
            if len(found) < 2:
                raise InputError(
                    f"{option}: the {len(rows):,} rows {what}{where} are of one class only; both are needed"
                    f" ({'fewer folds (--cv)' if folds else 'another --validation-size'} may give them)"
                )


def split_validation(dataset: Dataset, *, seed: int, validation_size: float) -> tuple[Table, Table]:
    """Return the rows of the training table to fit to, and those held out for validation."""
    stay, out = split_rows(dataset.train, validation_size, seed)
    return dataset.train.take(stay), dataset.train.take(out)


def fold_splits(table: Table, folds: int, seed: int) -> list[Split]:
    """Return the folds of a cross-validation.

    At random (by class, if there are), each row is held out once. With groups, each group is. With times, each fold is
    fitted to what came before and holds out what came next; the first rows are never held out.

    Raises:
        InputError: There are fewer groups than folds, or too few times.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    if table.time is not None:
        return _forward(table.time, folds)
    rows = np.zeros(table.rows)
    if table.group is None:
        at_random = StratifiedKFold if table.has_classes else KFold
        return list(at_random(folds, shuffle=True, random_state=seed).split(rows, table.target))
    if (groups := len(np.unique(table.group))) < folds:
        raise InputError(f"--cv: {folds} folds are too many: the training rows are of {groups} groups")
    by_group = StratifiedGroupKFold if table.has_classes else GroupKFold
    return list(by_group(folds, shuffle=True, random_state=seed).split(rows, table.target, table.group))


def _forward(time: NDArray[Any], folds: int) -> list[Split]:
    from sklearn.model_selection import TimeSeriesSplit

    ordered = np.sort(time)
    if len(ordered) <= folds:
        raise InputError(f"--cv: {folds} folds are too many for {len(ordered)} rows")
    # Rows of one time are on one side: a fold begins with all rows of its first time.
    starts = [ordered[out[0]] for _, out in TimeSeriesSplit(folds).split(ordered)]
    if starts[0] == ordered[0] or len(np.unique(starts)) < folds:
        raise InputError(f"--cv: {folds} folds are too many: the training rows are of {len(np.unique(time))} times")
    splits = []
    for place, start in enumerate(starts):
        later = (time >= start) if place == folds - 1 else (time >= start) & (time < starts[place + 1])
        splits.append((np.flatnonzero(time < start), np.flatnonzero(later)))
    return splits
