"""The types of feature columns, and the conversion of a column to its type."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from trainer.config.values import MISSING_VALUES, ColumnType, category_text
from trainer.util.errors import InputError


def column_type(columns: Sequence[pd.Series], label: str) -> ColumnType:
    """Return the type of a feature, decided by its values in both tables."""
    column_types = {kind for column in columns if (kind := _type_in_table(column, label)) is not None}
    if not column_types:
        return "number"
    if len(column_types) == 1:
        return column_types.pop()
    # Codes that happen to be all digits in one table are text all the same; a boolean among numbers is a mistake.
    if "text" in column_types and "boolean" not in column_types:
        return "text"
    raise InputError(f"{label} mixes {' and '.join(sorted(column_types))} values; write it the same way in all rows")


def _type_in_table(column: pd.Series, label: str) -> ColumnType | None:
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
    raise InputError(f"{label} holds {what} values; turn them into numbers, booleans or text first")


def convert_column(column: pd.Series, kind: ColumnType) -> pd.Series:
    """Return a column in its type: float64, booleans, or text with NaN for each missing value."""
    column = column.reset_index(drop=True)
    if kind == "number":
        return column.astype("float64")
    if kind == "boolean":
        values = column.astype(object)
        if values.isna().any():
            return values.where(values.notna(), np.nan)
        return values.astype(bool)
    values = column.astype(object)
    missing = values.isna() | values.isin(MISSING_VALUES)
    return pd.Series(
        [np.nan if gap else category_text(value) for value, gap in zip(values, missing, strict=True)],
        dtype="str",
        name=column.name,
    )
