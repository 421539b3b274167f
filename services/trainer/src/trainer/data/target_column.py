"""The target column: two classes, however they are written, with enough rows of each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer.config.boolean_words import CLASSES
from trainer.config.csv_form import CsvForm
from trainer.config.task import Label
from trainer.data.buckets import Place
from trainer.data.csv_faults import header_hint
from trainer.data.wrong_values import first_of, some_of
from trainer.util.errors import InputError
from trainer.util.text import did_you_mean, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Both classes need a row each in the training, validation and test part.
FEWEST_PER_CLASS = 3


def binary_target(values: pd.Series, label: str, positive: str | None = None) -> NDArray[np.int64]:
    """Return a target column as 0 and 1.

    Args:
        values: Numbers 0 and 1, booleans, or texts such as true/false and yes/no in any case.
        label: How messages name the column.
        positive: The value of the positive class, where the two are other values; in any case.

    Raises:
        InputError: Values are missing, are of other than two classes, or are all of one class.
    """
    refuse_missing(values, label)
    # Each value once: there are few, of many rows.
    codes, distinct = pd.factorize(values, sort=False)
    texts = pd.Series(distinct).map(plain_value).astype("str").str.strip().str.lower()
    found = {str(text): CLASSES.get(str(text)) for text in texts.unique()}
    if positive is not None:
        found = _named(list(found), positive, label)
    if None in found.values():
        shown = ", ".join(sorted(str(value) for value in values.unique()[:5]))
        more = ", …" if len(found) > 5 else ""
        raise InputError(
            f"{label}: the target must have two classes, written as 0/1, true/false or yes/no;"
            f" found {len(found)} value{'s' if len(found) != 1 else ''}: {shown}{more}"
            + ("; name the positive one with --positive" if len(found) == 2 else "")
        )
    result: NDArray[np.int64] = texts.map(found).to_numpy(dtype=np.int64)[codes]
    if len(set(found.values())) < 2:
        raise InputError(
            f"{label}: all {len(values)} rows are of one class ({values.iloc[0]}); both classes are needed"
        )
    return result


def refuse_missing(values: pd.Series, label: str) -> None:
    """Refuse a target column with missing values."""
    if len(missing := np.flatnonzero(values.isna())):
        raise InputError(
            f"{label}: {some_of(missing, len(values))} values are missing {first_of(missing)};"
            " remove those rows or fill them in"
        )


def _named(found: list[str], positive: str, label: str) -> dict[str, bool | None]:
    """Return which of two values is the positive one."""
    wanted = _plain_text(positive)
    by_value = {_plain_text(text): text for text in found}
    if len(found) > 2 or wanted not in by_value:
        shown = ", ".join(sorted(found)[:5]) + (", …" if len(found) > 5 else "")
        raise InputError(
            f"{label}: --positive {positive} must be one of the target's two values; found {len(found)}: {shown}"
        )
    return {text: value == wanted for value, text in by_value.items()}


def _plain_text(text: str) -> str:
    """Return a value as it is compared: a whole number however it is written, other texts in small letters."""
    plain = text.strip().lower()
    plain = plain[1:] if plain.startswith("+") and plain[1:].replace(".", "", 1).isdecimal() else plain
    return plain[:-2] if plain.endswith(".0") and plain[:-2].lstrip("+-").isdecimal() else plain


def plain_value(value: object) -> object:
    """Return a whole number as an int, however many zeros a decimal type writes behind its point, and -0.0 as 0.0."""
    if isinstance(value, float):
        return value + 0.0
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value


def check_class_sizes(target: NDArray[Any], label: str, fewest: int, classes: Sequence[Label]) -> None:
    """Refuse a target of which a class has fewer rows than ``fewest``; of numbers, one with fewer rows."""
    if target.dtype.kind == "f":
        if len(target) < fewest:
            raise InputError(f"{label}: too few rows to split: {len(target)} rows; at least {fewest} are needed")
        return
    counts = np.bincount(target, minlength=len(classes))
    rarer = int(np.argmin(counts))
    if counts[rarer] < fewest:
        # Two classes are called as everywhere: 0 and 1.
        name = repr(classes[rarer]) if len(classes) > 2 else rarer
        raise InputError(
            f"{label}: too few rows to split: {len(target)} rows, of class {name} only {counts[rarer]};"
            f" each class needs at least {fewest}"
        )


def check_target(table: pd.DataFrame, path: Place, target: str | None, form: CsvForm) -> None:
    """Check that a table has the target column, and that it was named."""
    if target is None:
        raise InputError(f"{path}: name its target column with --target; its columns are {listed(table.columns)}")
    if target not in table.columns:
        hint = did_you_mean(target, map(str, table.columns), f"its columns are {listed(table.columns)}")
        raise InputError(f"{path}: has no target column {target!r}; {hint}{header_hint(map(str, table.columns), form)}")
