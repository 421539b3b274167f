"""Columns that are no features, and say something about each row: its weight, its time, the group it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer.config.csv_form import CsvForm
from trainer.data.columns import numbers_of
from trainer.data.dataset import Table
from trainer.data.missing_words import missing_values
from trainer.data.row_hashes import LARGEST_EXACT, hash_values
from trainer.data.target_column import plain_value
from trainer.data.wrong_values import first_of, some_of
from trainer.util.errors import InputError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: How a time of the day ends that names its zone.
_ZONE = re.compile(r":\d\d[\d:.,]*\s*(?:[Zz]|[-+]\d\d(?::?\d\d)?)$", re.ASCII)
#: The largest weight, and one by the smallest.
_HEAVIEST = 1e20


@dataclass(frozen=True)
class ColumnRoles:
    """The names of these columns; None where there is no such column."""

    weight: str | None = None
    time: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: Both a time and a group, or one column twice.
        """
        if self.time is not None and self.group is not None:
            raise InputError("--time and --group exclude each other: rows are split by one of them")
        if self.weight is not None and self.weight in (self.time, self.group):
            raise InputError(f"--weight: {self.weight!r} is named by {'--time' if self.time else '--group'} as well")

    @property
    def options(self) -> list[tuple[str, str]]:
        """The options that are given, each with its column."""
        named = (("--weight", self.weight), ("--time", self.time), ("--group", self.group))
        return [(option, name) for option, name in named if name is not None]

    def table(self, raw: pd.DataFrame, target: NDArray[np.int64], source: str, form: CsvForm) -> Table:
        """Return a table whose features are a raw table's columns without these.

        ``form`` says what texts in these columns mean: numbers with commas, and words for a missing value.

        Raises:
            InputError: A value of one of these columns is missing or not allowed.
        """
        for option, name in self.options:
            if (missing := int(missing_values(raw[name], form).sum())) > 0:
                raise InputError(
                    f"{source}: column {name!r} ({option}): {missing:,} of {len(raw):,} values are missing"
                )
        return Table(
            raw.drop(columns=[name for _, name in self.options]),
            target,
            weight=None
            if self.weight is None
            else _weights(raw[self.weight], f"{source}: column {self.weight!r}", form),
            time=None if self.time is None else _times(raw[self.time], f"{source}: column {self.time!r}"),
            group=None
            if self.group is None
            else _groups(raw[self.group], f"{source}: column {self.group!r}", form.decimal),
        )


def _weights(column: pd.Series, label: str, form: CsvForm) -> NDArray[np.float64]:
    try:
        values = numbers_of(column, form)
    except TypeError:
        raise InputError(f"{label} (--weight): weights must be numbers, not lists or structures") from None
    if len(rows := np.flatnonzero(np.isnan(values))):
        first = str(column.iloc[rows[0]])
        raise InputError(
            f"{label} (--weight): weights must be numbers; {some_of(rows, len(values))} are none"
            f" {first_of(rows, one_line(repr(first), 60))}{form.hint(first)}"
        )
    for wrong, words in (
        (~(np.isfinite(values) & (values > 0)), "positive and finite"),
        # LightGBM keeps single precision, in which others are 0 or infinite, as their sums may be.
        ((values < 1 / _HEAVIEST) | (values > _HEAVIEST), f"from {1 / _HEAVIEST:g} to {_HEAVIEST:g}"),
    ):
        if len(rows := np.flatnonzero(wrong)):
            raise InputError(
                f"{label} (--weight): weights must be {words}; {some_of(rows, len(values))} are not"
                f" {first_of(rows, f'{values[rows[0]]:g}')}"
            )
    return values


def _times(column: pd.Series, label: str) -> NDArray[Any]:
    """Return numbers as they are, and dates to the nanosecond (UTC where they name no zone)."""
    if pd.api.types.is_bool_dtype(column.dtype):
        raise InputError(f"{label} (--time) holds boolean values; expected dates or numbers")
    if pd.api.types.is_numeric_dtype(column.dtype) or isinstance(column.iloc[0], Decimal):
        numbers = column.to_numpy(dtype=np.float64)
        if len(rows := np.flatnonzero(~np.isfinite(numbers))):
            raise InputError(
                f"{label} (--time): times must be finite; {some_of(rows, len(numbers))} are not"
                f" {first_of(rows, f'{numbers[rows[0]]:g}')}"
            )
        if not (np.abs(numbers) >= LARGEST_EXACT).any():
            return numbers
        # As nanoseconds since 1970 are.
        whole = column.map(plain_value).infer_objects() if column.dtype == object else column
        return whole.to_numpy() if whole.dtype.kind in "iu" else numbers
    if isinstance(column.dtype, pd.StringDtype):
        column = column.str.strip()
    try:
        moments = pd.to_datetime(column, format=None if column.dtype.kind == "M" else "ISO8601", utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        # pandas goes on with advice to programmers.
        found = one_line(str(error).partition(". You might want")[0], 80)
        raise InputError(
            f"{label} (--time): write dates as 2024-12-31 or 2024-12-31T23:59:59, or as numbers ({found})"
        ) from None
    _check_zones(column, label)
    moments = moments.dt.tz_localize(None)
    # Beyond these, nanoseconds would begin anew at the other end, without an error.
    if len(wrong := np.flatnonzero((moments < pd.Timestamp.min) | (moments > pd.Timestamp.max))):
        raise InputError(
            f"{label} (--time): dates must be from 1678 to 2261; {some_of(wrong, len(moments))} are not"
            f" {first_of(wrong, shown_time(moments.iloc[wrong[0]]))}"
        )
    return moments.to_numpy("datetime64[ns]")


def _check_zones(column: pd.Series, label: str) -> None:
    """Refuse texts of which some name a time zone and others do not: their order is not known."""
    if not isinstance(column.dtype, pd.StringDtype):
        return
    named = column.str.contains(_ZONE).to_numpy(dtype=bool)
    if named.any() and not named.all():
        rows = np.flatnonzero(~named)
        raise InputError(
            f"{label} (--time): some dates name a time zone and {len(rows):,} do not"
            f" {first_of(rows, one_line(str(column.iloc[rows[0]]), 40))}; write all of them alike"
        )


def _groups(column: pd.Series, label: str, decimal: str) -> NDArray[np.int64]:
    try:
        return hash_values(column, decimal)
    except TypeError:
        raise InputError(f"{label} (--group) holds lists or structures; expected texts, numbers or dates") from None


def shown_time(value: Any) -> str:
    """Return a time as people write it."""
    if isinstance(value, np.floating):
        return f"{float(value):.15g}"
    return str(value) if isinstance(value, np.integer) else pd.Timestamp(value).isoformat().removesuffix("T00:00:00")
