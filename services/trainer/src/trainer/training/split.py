"""The rows to fit to and those held out for validation."""

from __future__ import annotations

import numpy as np

from trainer.data.dataset import Dataset, Table, stratified_split
from trainer.util.errors import InputError


def check_folds(dataset: Dataset, folds: int) -> None:
    """Check that each fold can have rows of both classes.

    Raises:
        InputError: The training rows are too few for so many folds.
    """
    least = min(int(count) for count in np.bincount(dataset.train.target, minlength=2))
    if folds > least:
        raise InputError(
            f"--cv: {folds} folds are too many: the training rows hold {least} of the rarer class, and each fold needs"
            f" at least one; {f'give at most {least}' if least > 1 else 'leave it out'}"
        )


def split_validation(dataset: Dataset, *, seed: int, validation_size: float) -> tuple[Table, Table]:
    """Return the rows of the training table to fit to, and those held out for validation."""
    stay, out = stratified_split(dataset.train.target, validation_size, seed)
    return dataset.train.take(stay), dataset.train.take(out)
