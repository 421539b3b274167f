"""The target columns of a data set, in the form that its task asks for: codes of classes, or numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer.config.csv_form import CsvForm
from trainer.config.task import Label, TaskName
from trainer.data.column_names import alike_classes_warnings
from trainer.data.column_warnings import looks_like_number
from trainer.data.columns import numbers_of
from trainer.data.missing_words import missing_values
from trainer.data.target_column import binary_target, plain_value, refuse_missing
from trainer.data.task_guess import guess_task
from trainer.data.wrong_values import first_of, some_of
from trainer.util.errors import InputError
from trainer.util.text import listed, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.reading import Reading

#: Each iteration makes a tree for each class. From so many classes on a line says what that costs; more than the second
#: number are refused.
MANY_CLASSES, MOST_CLASSES = 50, 200
#: LightGBM keeps targets and gradients in single precision, which ends at 3.4e38.
_LARGEST = 1e37


class GuessedTaskError(InputError):
    """A target cannot be that of the task that its values were taken to ask for; a model's own task may be another."""


@dataclass(frozen=True)
class Column:
    """A target column, and how messages name it."""

    values: pd.Series
    label: str


@dataclass(frozen=True)
class Targets:
    """The targets of a data set's columns, one array for each; ``warnings`` say what was made of them."""

    task: TaskName
    classes: tuple[Label, ...]
    values: tuple[NDArray[Any], ...]
    warnings: tuple[str, ...] = ()

    def known_to(self, how: Reading) -> Reading:
        """Return how to read the data, with what is known of the target by now."""
        return replace(how, task=self.task, classes=self.classes)


def read_targets(columns: Sequence[Column], how: Reading) -> Targets:
    """Return the targets that columns hold: of all rows, or first of the training rows and then of the test rows.

    Raises:
        InputError: They cannot be the target of the task.
    """
    columns = [_checked(column, how) for column in columns]
    task, note = how.task, None
    if task is None and how.positive is None:
        for column in columns:
            refuse_missing(column.values, column.label)
        task, note = guess_task(columns[0].values, str(columns[0].values.name))
    if task not in (None, "binary") and how.positive is not None:
        raise InputError(f"--positive: a {task} target has no positive class; leave it out")
    try:
        read = _READERS[task or "binary"](columns, how)
    except InputError as error:
        raise (GuessedTaskError(str(error)) if how.task is None and task not in (None, "binary") else error) from None
    return read if note is None else replace(read, warnings=(note, *read.warnings))


def _binary(columns: Sequence[Column], how: Reading) -> Targets:
    values = tuple(binary_target(column.values, column.label, how.positive) for column in columns)
    first = columns[0].values
    labels = [_label(first.iloc[int(np.argmax(values[0] == code))]) for code in (0, 1)]
    mixed = len({type(label) for label in labels}) > 1
    return Targets("binary", tuple(str(label) if mixed else label for label in labels), values)


def _multiclass(columns: Sequence[Column], how: Reading) -> Targets:
    for column in columns:
        refuse_missing(column.values, column.label)
    # Each value once: there are few, of many rows.
    coded = [pd.factorize(column.values, sort=False) for column in columns]
    labels = [[_label(value) for value in distinct] for _, distinct in coded]
    found = set(labels[0]) if how.classes is None else set(how.classes)
    if any(isinstance(label, str) for label in found):
        labels = [[str(label) for label in some] for some in labels]
        found = {str(label) for label in found}
    label = columns[0].label
    warnings: tuple[str, ...] = ()
    if how.classes is None:
        for column, some in zip(columns, labels, strict=True):
            if len(set(some)) == 1:
                raise InputError(
                    f"{column.label}: all {len(column.values)} rows are of one class ({some[0]}); more are needed"
                )
        if len(found) == 2:
            raise InputError(f"{label}: has two values, {listed(sorted(map(str, found)))}: --task binary predicts them")
        if len(found) > MOST_CLASSES:
            numbers = pd.api.types.is_numeric_dtype(columns[0].values.dtype)
            raise InputError(
                f"{label}: has {len(found):,} classes, and {MOST_CLASSES} at most are taken: each iteration makes a"
                f" tree for each class, {100 * len(found):,} trees in 100 iterations; put rare classes together"
                f"{' (numbers: --task regression)' if numbers else ''}"
            )
        warnings = tuple(alike_classes_warnings(columns[0].values.name, map(str, sorted(found, key=_order))))
        if len(found) >= MANY_CLASSES:
            warnings += (
                f"target {columns[0].values.name} has {len(found)} classes: each iteration makes {len(found)} trees,"
                f" and a fit takes as many times as long ({100 * len(found):,} trees in 100 iterations)",
            )
    # All are of one kind by now; how.classes has the model's own order.
    classes: tuple[Label, ...] = how.classes if how.classes is not None else tuple(sorted(found, key=_order))
    codes = {name: code for code, name in enumerate(classes)}
    values = []
    for column, some, (places, _) in zip(columns, labels, coded, strict=True):
        if unknown := sorted({str(name) for name in some if name not in codes}):
            whose = "the training rows" if how.classes is None else "the model"
            raise InputError(
                f"{column.label}: class {one_line(repr(unknown[0]), 60)} is none of {whose}'"
                f"{'' if how.classes is None else 's'}, which are {listed(map(str, classes))}"
            )
        values.append(np.array([codes[name] for name in some], dtype=np.int64)[places])
    return Targets("multiclass", classes, tuple(values), warnings)


def _regression(columns: Sequence[Column], how: Reading) -> Targets:
    values = tuple(_numbers(column, how.form) for column in columns)
    if how.column_types is None and np.ptp(values[0]) == 0:
        raise InputError(f"{columns[0].label}: all {len(values[0])} values are {values[0][0]:g}; nothing is to be told")
    warnings = _coarse_warnings(columns[0], values[0]) if how.column_types is None else ()
    return Targets("regression", (), values, warnings)


def _coarse_warnings(column: Column, values: NDArray[np.float64]) -> tuple[str, ...]:
    """Return a warning where many different numbers are one to LightGBM, which keeps a target's first seven digits."""
    distinct, fitted = len(np.unique(values)), len(np.unique(values.astype(np.float32)))
    if 2 * fitted > distinct:
        return ()
    return (
        f"target {column.values.name} has {distinct:,} different numbers, of which LightGBM tells {fitted:,} apart,"
        " because it keeps seven digits: subtract what they have in common, or take another unit",
    )


def _checked(column: Column, how: Reading) -> Column:
    """Return a target in which words for a missing value are one, as in a CSV file; refuse lists and structures."""
    values = column.values
    there = values.dropna()
    if len(there) and isinstance(there.iloc[0], list | dict | np.ndarray | bytes):
        what = "binary values" if isinstance(there.iloc[0], bytes) else "lists or structures"
        raise InputError(f"{column.label}: holds {what}; expected numbers, texts, or true and false")
    if isinstance(values.dtype, pd.StringDtype):
        values = values.mask(missing_values(values, how.form))
    return replace(column, values=values)


_READERS: Mapping[TaskName, Callable[[Sequence[Column], Reading], Targets]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}


def _numbers(column: Column, form: CsvForm) -> NDArray[np.float64]:
    values, label = column.values, column.label
    refuse_missing(values, label)
    if pd.api.types.is_bool_dtype(values.dtype) or values.dtype.kind in "mM":
        raise InputError(f"{label}: holds {values.dtype} values; --task regression takes numbers")
    numbers = numbers_of(values, form)
    if len(wrong := np.flatnonzero(np.isnan(numbers))):
        first = str(values.iloc[wrong[0]])
        point = "a comma" if form.decimal == "," else "a point"
        plain = f"; write digits alone, decimals with {point}" if looks_like_number(first) else ""
        advice = form.hint(first) or plain
        raise InputError(
            f"{label}: {some_of(wrong, len(values))} values are no numbers"
            f" {first_of(wrong, one_line(repr(first), 60))}{advice}"
        )
    if len(wrong := np.flatnonzero(~np.isfinite(numbers))):
        raise InputError(
            f"{label}: {some_of(wrong, len(values))} values are infinite {first_of(wrong)}; remove those rows"
        )
    if len(wrong := np.flatnonzero(np.abs(numbers) > _LARGEST)):
        raise InputError(
            f"{label}: {some_of(wrong, len(values))} values are beyond {_LARGEST:g}"
            f" {first_of(wrong, f'{numbers[wrong[0]]:g}')}, too large for LightGBM: divide them, or remove those rows"
        )
    return numbers


def _label(value: object) -> Label:
    """Return a class as it is called: a whole number as one, however it is written, and other values as text."""
    value = plain_value(value)
    if isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, (int, float, np.integer, np.floating)) and float(value).is_integer():
        return int(value)
    return str(value).strip()


def _order(label: Label) -> tuple[int, str]:
    return (label, "") if isinstance(label, int) else (0, label)
