"""The types of feature columns, and the conversion of a column to its type."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trainer.config.boolean_words import BOOLEANS
from trainer.config.csv_form import CsvForm
from trainer.config.values import ColumnType, category_text
from trainer.util.errors import InputError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.buckets import Place
    from trainer.data.reading import Reading

_WORDS = {"number": "numbers", "boolean": "true or false"}
_USUAL = CsvForm()


def column_type(columns: Sequence[pd.Series], label: str, form: CsvForm = _USUAL) -> ColumnType:
    """Return the type of a feature, decided by its values in all tables; ``form`` says which words are none."""
    column_types = {
        kind
        for column in columns
        if (kind := type_in_table(column, label)) is not None
        and not (kind == "text" and column.dropna().isin(form.text_gaps).all())
    }
    return common_type(column_types, label)


def common_type(column_types: Set[ColumnType], label: str) -> ColumnType:
    """Return the type of a feature that has these in some tables, or in none.

    Raises:
        InputError: It is boolean in one of them, and a number in another.
    """
    if not column_types:
        return "unknown"
    if len(column_types) == 1:
        return next(iter(column_types))
    # Codes that happen to be all digits in one table are text all the same, and so are texts that happen to be true and
    # false; a boolean among numbers is a mistake.
    if "text" in column_types:
        return "text"
    raise InputError(f"{label} mixes {' and '.join(sorted(column_types))} values; write it the same way in all rows")


def read_as(column: pd.Series, kind: ColumnType, label: str, *, from_text: bool, form: CsvForm = _USUAL) -> pd.Series:
    """Return a column in the type that a model was trained on; what it refuses is what scoring refuses.

    Args:
        column: The column, in the type that its values were taken for.
        kind: The type that the model takes.
        label: How messages name the column.
        from_text: The file is one of text (CSV), in which everything is written out.
        form: How files of text are written.

    Raises:
        InputError: A value is of another type.
    """
    found = None if kind == "unknown" else type_in_table(column, label)
    if from_text and found == "text" and kind in ("number", "boolean"):
        parse: Callable[[str], object] = form.parse_number if kind == "number" else _parse_boolean
        values: dict[object, object] = {}
        for text in column.dropna().unique():
            word = str(text).strip()
            try:
                values[text] = np.nan if word in form.gaps else parse(word)
            except (ValueError, KeyError):
                raise InputError(
                    f"{label}: {one_line(repr(text), 60)} is not allowed; the model takes {_WORDS[kind]}"
                    + (form.hint(word) if kind == "number" else "")
                ) from None
        column = column.astype(object).map(values)
    elif found not in (None, kind) and kind != "text":
        raise InputError(f"{label} holds {found} values; the model takes {_WORDS[kind]}")
    return convert_column(column, kind, form)


def numbers_of(column: pd.Series, form: CsvForm) -> NDArray[np.float64]:
    """Return a column that is no feature as numbers, by the rules of features; NaN for each value that is none."""
    if column.dtype.kind in "iuf":
        return column.to_numpy(dtype=np.float64)
    codes, distinct = pd.factorize(column, sort=False)
    # A missing value has the code -1, and so the last place.
    numbers = np.array([*(_number(value, form) for value in distinct), np.nan])
    found: NDArray[np.float64] = numbers[codes]
    return found


def _number(value: object, form: CsvForm) -> float:
    if isinstance(value, str):
        try:
            return form.parse_number(value.strip())
        except ValueError:
            return np.nan
    is_number = isinstance(value, int | float | Decimal | np.number) and not isinstance(value, bool)
    return float(value) if is_number else np.nan  # type: ignore[arg-type]


def _parse_boolean(word: str) -> bool:
    return BOOLEANS[word.lower()]


def type_in_table(column: pd.Series, label: str) -> ColumnType | None:
    """Return the type of one table's column, or None where all its values are missing."""
    values = column.dropna()
    if values.empty:
        return None
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = values.astype(column.dtype.categories.dtype)
    types = pd.api.types
    if types.is_bool_dtype(values.dtype):
        return "boolean"
    if types.is_numeric_dtype(values.dtype) and not types.is_complex_dtype(values.dtype):
        return "number"
    if types.is_string_dtype(values.dtype) and values.dtype != object:
        return "text"
    if values.dtype == object:
        found = set(values.map(type).unique())
        if found <= {bool, np.bool_}:
            return "boolean"
        if found <= {int, float, Decimal, np.int64, np.float64}:
            return "number"
        if found <= {str, int, float, bool}:
            return "text"
    what = values.iloc[0].__class__.__name__ if values.dtype == object else str(values.dtype)
    raise no_feature(label, what)


def no_feature(label: str, what: str) -> InputError:
    """Return the error for a column whose values are of a type that no model takes."""
    return InputError(
        f"{label} holds {what} values; turn them into numbers, booleans or text, or leave the column out (--drop)"
    )


def convert_column(column: pd.Series, kind: ColumnType, form: CsvForm = _USUAL) -> pd.Series:
    """Return a column in its type: float64, booleans, text with NaN for each missing value, or NaN alone."""
    column = column.reset_index(drop=True)
    if not column.notna().any():
        # Its own type, such as one of dates, may be none that becomes another.
        column = pd.Series(np.nan, index=column.index, dtype=object, name=column.name)
    if kind == "unknown":
        return pd.Series(np.nan, index=column.index, dtype="str", name=column.name)
    if kind == "number":
        return column.astype("float64")
    if kind == "boolean":
        values = column.astype(object)
        if values.isna().any():
            return values.where(values.notna(), np.nan)
        return values.astype(bool)
    values = column.astype(object)
    missing = values.isna() | values.isin(form.text_gaps)
    return pd.Series(
        [np.nan if gap else category_text(value) for value, gap in zip(values, missing, strict=True)],
        dtype="str",
        name=column.name,
    )


def text_columns(path: Place, train: pd.DataFrame, test: pd.DataFrame, how: Reading) -> list[str]:
    """Return the columns that are text in one table and something else in the other: as a number, 007 would become 7.

    They are read once more, as they are written. What is boolean in one and a number in the other stays what it is.
    """
    # What is no feature may be of any type, as dates are.
    out = {*how.drop, *(name for _, name in how.roles.options)}
    both = (name for name in train.columns if name in test.columns and name not in out)
    pairs = ((name, (train[name], test[name])) for name in both)
    types = {
        name: {type_in_table(column, f"{path}: column {name!r}") for column in columns} - {None}
        for name, columns in pairs
    }
    return [name for name, found in types.items() if "text" in found and len(found) > 1]
