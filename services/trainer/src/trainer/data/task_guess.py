"""What a target column asks for, where nobody says so: one of two classes, one of several, or a number."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.boolean_words import CLASSES
from trainer.config.task import TaskName
from trainer.data.column_warnings import looks_like_number
from trainer.util.text import listed

if TYPE_CHECKING:
    import pandas as pd

#: Up to so many whole numbers are more likely the numbers of classes than amounts.
FEW = 20
_NUMBERS = (int, float, np.integer, np.floating, Decimal)


def guess_task(values: pd.Series, name: str) -> tuple[TaskName, str | None]:
    """Return the task that a target column asks for, and a line that says why; None where there is no doubt.

    Args:
        values: The column's values in the training rows.
        name: The column's name.
    """
    # A class has no white space at its ends.
    found = values.dropna().unique()
    distinct = list(dict.fromkeys(value.strip() if isinstance(value, str) else value for value in found))
    if len(distinct) <= 2 or all(str(value).strip().lower() in CLASSES for value in distinct):
        return "binary", None
    # A boolean is an int to Python.
    numbers = [value for value in distinct if isinstance(value, _NUMBERS) and not isinstance(value, bool)]
    if len(numbers) == len(distinct):
        whole = all(np.isfinite(float(value)) and float(value).is_integer() for value in numbers)
        if whole and len(numbers) <= FEW:
            return "multiclass", (
                f"target {name} has {len(numbers)} whole numbers: the task is multiclass, each is a class"
                " (--task regression takes them as amounts)"
            )
        other = " (--task multiclass takes each as a class)" if len(numbers) <= FEW else " (--task)"
        return "regression", f"target {name} has {len(numbers):,} different numbers: the task is regression{other}"
    if len(distinct) > FEW and sum(_is_number(value) for value in distinct) > len(distinct) / 2:
        # Numbers with a mistake among them, which is said next.
        return "regression", None
    shown = listed(sorted(map(str, distinct)), 3)
    return "multiclass", f"target {name} has {len(distinct):,} classes ({shown}): the task is multiclass (--task)"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return looks_like_number(str(value))
    return True
