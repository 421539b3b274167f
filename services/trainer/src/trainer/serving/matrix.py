"""Turns named columns into the numbers that the trees take, or refuses a value that has the wrong type.

A column's type decides what its values may be, as in training: numbers, true or false, or texts, of which the model
knows some. A missing value of any type is NaN, and so is a text that the model does not know.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.boolean_words import BOOLEANS
from trainer.config.values import ColumnType, category_text, parse_number
from trainer.serving.body import RequestError, Table
from trainer.serving.model_parts import ModelParts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORDS: Mapping[ColumnType, str] = {"number": "numbers", "boolean": "true or false", "text": "text"}
_NONE = type(None)
#: The types of values that need no look at each of them: NumPy itself makes NaN of None.
_PLAIN: Mapping[ColumnType, frozenset[type]] = {
    "number": frozenset({float, int, _NONE}),
    "boolean": frozenset({bool, _NONE}),
    "text": frozenset({str, _NONE}),
}


def build_matrix(parts: ModelParts, table: Table) -> NDArray[np.float64]:
    """Return the table's rows as the (rows, columns) matrix that the trees take.

    Raises:
        RequestError: The table has no rows, lacks a column, or holds a value of another type.
    """
    given = table.columns
    if not table.rows and given:
        raise RequestError("the request holds no rows", "INVALID_PARAMETER_VALUE")
    matrix = np.empty((table.rows, len(parts.order)))
    # Only in text can a word stand for a missing value.
    gaps = parts.gaps if table.from_text else None
    position = {name: index for index, name in enumerate(parts.order)}
    # In the request's order: of several wrong columns, its first is named.
    for name, values in given.items():
        if (index := position.get(name)) is not None:
            matrix[:, index] = column_numbers(name, values, parts.columns[name], parts.codes.get(name, {}), gaps, table)
    if len(given) < len(position) or any(name not in given for name in position):
        refuse_missing(parts.columns, given)
    return matrix


def refuse_missing(columns: Collection[str], given: Mapping[Any, Any]) -> None:
    """Refuse a table that lacks columns which a model takes."""
    missing = [name for name in columns if name not in given]
    extra = [name for name in given if name not in columns]
    if missing:
        rest = f" Note that there were extra inputs: {extra}." if extra else ""
        raise RequestError(f"Model is missing inputs {missing}.{rest}", "INVALID_PARAMETER_VALUE")


def column_numbers(
    name: str,
    values: Any,
    kind: ColumnType,
    codes: Mapping[str, float],
    gaps: frozenset[str] | None,
    table: Table,
) -> NDArray[np.float64]:
    """Return a column as numbers, with NaN for missing ones; ``codes`` are those of texts.

    Args:
        name: The column's name.
        values: Its values.
        kind: What the model takes there.
        codes: The codes of the texts that it knows.
        gaps: The words for a missing value; None where a word stands for nothing but itself.
        table: The table that the column is of.

    Raises:
        RequestError: A value is of another type.
    """
    if isinstance(values, np.ndarray):
        # Numbers of a typed form. In a column of another type, each is read as it would be anywhere.
        if kind == "number":
            return values
        values = values.tolist()
    found = set(map(type, values))
    if found <= _PLAIN[kind] and (gaps is None or kind == "text"):
        try:
            # A missing value in a text has no code either.
            return np.array(list(map(codes.get, values)) if kind == "text" else values, dtype=np.float64)
        except OverflowError:
            # An integer beyond all decimals: the look at each value names it.
            pass
    if gaps is not None and kind == "number" and (plain := _plain_numbers(values)) is not None:
        return plain
    if table.typed and kind != "text" and str in found:
        # As in files: a text is no number, whatever it spells.
        raise _refused(name, next(value for value in values if isinstance(value, str)), kind)
    convert = {"number": _number, "boolean": _truth, "text": _text}[kind]
    numbers = []
    for value in values:
        try:
            number = convert(value, codes, gaps)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise _refused(name, value, kind) from None
        numbers.append(number)
    return np.array(numbers, dtype=np.float64)


def text_of(value: Any) -> str | None:
    """Return a value of a column of texts as text; None for a missing one.

    Raises:
        TypeError: It is none of text, and no number or boolean either, which can be written as one.
    """
    if _missing(value):
        return None
    if not isinstance(value, str | int | float | Decimal):
        raise TypeError
    return category_text(value)


def _refused(name: str, value: Any, kind: ColumnType) -> RequestError:
    message = f"column {name!r} holds {_shown(value)}; the model takes {_WORDS[kind]}"
    return RequestError(message, "INVALID_PARAMETER_VALUE")


def _plain_numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    """Return texts as numbers where all are plain ones or empty; None where one needs a closer look."""
    together = "".join(values)
    if not together.isascii() or "_" in together:
        return None
    try:
        return np.array([float(value) if value else math.nan for value in values])
    except ValueError:
        return None


def _number(value: Any, _codes: Mapping[str, float], gaps: frozenset[str] | None) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str):
        return math.nan if gaps is not None and value.strip() in gaps else parse_number(value)
    # A boolean is no number, as in files; and Python would take bytes for one.
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    return float(value)


def _truth(value: Any, _codes: Mapping[str, float], gaps: frozenset[str] | None) -> float:
    if _missing(value):
        return math.nan
    word = str(value).strip()
    return math.nan if gaps is not None and word in gaps else float(BOOLEANS[word.lower()])


def _text(value: Any, codes: Mapping[str, float], _gaps: frozenset[str] | None) -> float:
    text = text_of(value)
    return math.nan if text is None else codes.get(text, math.nan)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"
