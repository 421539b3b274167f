"""Brings a chunk's columns to the types that a model was trained on, whatever types the file has for them.

Types come from the model, once, and never from a chunk: a chunk in which a text column holds only digits, or a column
of numbers only missing values, reads as every other. The rules are those of ``trainer.data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.config.boolean_words import BOOLEANS
from trainer.config.csv_form import CsvForm
from trainer.config.values import category_text
from trainer.util.errors import InputError
from trainer.util.text import one_line

if TYPE_CHECKING:
    import pandas as pd

#: The first four are the trainer's own types; the others are column types of MLflow signatures.
Type = Literal["number", "boolean", "text", "unknown", "float", "integer", "long", "datetime"]

ARROW: Mapping[str, pa.DataType] = {
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "unknown": pa.string(),
    "float": pa.float32(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "datetime": pa.timestamp("ns"),
}
_WORDS = {
    "number": "numbers",
    "boolean": "true or false",
    "text": "text",
    "unknown": "anything",
    "float": "numbers",
    "integer": "whole numbers",
    "long": "whole numbers",
    "datetime": "dates",
}
_USUAL = CsvForm()
#: In any case, as pandas reads them.
_TRUTH = pa.array(sorted(BOOLEANS))
_WHOLE = ("integer", "long")
_DECIMAL = pa.decimal128(38)
_NUMBERS = ("number", "float", *_WHOLE)


@dataclass(frozen=True)
class Feature:
    """A column that a model takes."""

    name: str
    type: Type
    required: bool = True


def convert(
    column: pa.Array, feature: Feature, row: int, source: str, *, from_text: bool, form: CsvForm = _USUAL
) -> pa.Array:
    """Return a chunk's column in the feature's type.

    Args:
        column: The column as the file has it.
        feature: What the model expects.
        row: How many rows of the file come before the chunk, for messages.
        source: The file, for messages.
        from_text: The file is one of text (CSV), in which a word can stand for a missing value, and everything is
            written out.
        form: How a file of text is written, and which words are missing values.

    Raises:
        InputError: A value is of another type; the message names row and column.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float16(column.type):
        # Arrow computes little with these.
        column = column.cast(pa.float32())
    if pa.types.is_decimal(column.type) and column.type.bit_width < _DECIMAL.bit_width:
        # Nor with these.
        column = column.cast(pa.decimal128(_DECIMAL.precision, column.type.scale))
    # Without a value, a column's type says nothing, as in a file of text.
    if column.null_count == len(column) or feature.type == "unknown":
        result = pa.nulls(len(column), ARROW[feature.type])
    elif column.type == ARROW[feature.type] and feature.type != "text":
        result = column
    elif from_text:
        result = _parse(column, feature, row, source, form)
    else:
        result = _cast(column, feature, row, source, form)
    if feature.type in _WHOLE and result.null_count:
        place = _place(source, row, pc.index(result.is_null(), True).as_py(), feature)
        raise InputError(
            f"{place}: the value is missing; this model takes no missing value in a column of whole numbers"
        )
    return result


def _parse(column: pa.Array, feature: Feature, row: int, source: str, form: CsvForm) -> pa.Array:
    """Return a column of a text file in the feature's type."""
    if feature.type == "text":
        return _without(column, form.text_gaps)
    words = _without(pc.utf8_trim_whitespace(column), form.gaps)
    if feature.type == "boolean":
        truth = pc.index_in(pc.ascii_lower(words), value_set=_TRUTH)
        wrong = pc.and_(words.is_valid(), truth.is_null())
        if pc.any(wrong).as_py():
            raise _bad(column, pc.index(wrong, True).as_py(), feature, row, source, form)
        return truth.cast(pa.bool_())
    return _checked(lambda part: number_words(part, form).cast(ARROW[feature.type]), words, feature, row, source, form)


def _without(words: pa.Array, gaps: Sequence[str]) -> pa.Array:
    """Return texts with each that stands for a missing value as one."""
    return pc.if_else(pc.is_in(words, value_set=pa.array(gaps)), pa.scalar(None, pa.string()), words)


def number_words(words: pa.Array, form: CsvForm) -> pa.Array:
    """Return texts as pyarrow is to read them as numbers: with a point before decimals, and no text beside numbers.

    pyarrow alone also reads 0x1F as a whole number and nan(ind) as a missing one; and where decimals have a comma, a
    text with a point is no number.
    """
    if form.decimal == ",":
        words = pc.replace_substring(pc.replace_substring(words, ".", "?"), ",", ".")
    return pc.if_else(pc.match_substring_regex(words, "[xX(]"), "?", words)


def _cast(column: pa.Array, feature: Feature, row: int, source: str, form: CsvForm) -> pa.Array:
    """Return a typed column in the feature's type, where the two are of one kind."""
    held, types = column.type, pa.types
    numeric = types.is_integer(held) or types.is_floating(held) or types.is_decimal(held)
    text = types.is_string(held) or types.is_large_string(held) or types.is_string_view(held)
    if feature.type == "text":
        if text:
            return _without(column.cast(pa.string()), form.text_gaps)
        if numeric or types.is_boolean(held):
            # Each value once: Python writes it as it did when the model was trained.
            coded = pc.if_else(pc.is_nan(column), None, column) if types.is_floating(held) else column
            coded = coded.dictionary_encode()
            words = pa.array([category_text(value) for value in coded.dictionary.to_pylist()], pa.string())
            return words.take(coded.indices)
    elif feature.type in ("number", "float") and numeric:
        # By way of its digits, a decimal becomes the nearest number, as in training.
        column = column.cast(pa.string()) if types.is_decimal(held) else column
        return column.cast(ARROW[feature.type], safe=False)
    elif feature.type in _WHOLE and numeric:
        if types.is_floating(held):
            # A missing value in a column of decimals may be written either way.
            column = pc.if_else(pc.is_nan(column), None, column)
        return _checked(lambda part: part.cast(ARROW[feature.type]), column, feature, row, source, form)
    elif feature.type == "datetime" and (types.is_timestamp(held) or types.is_date(held)):
        return column.cast(ARROW["datetime"], safe=False)
    raise InputError(f"{source}: column {feature.name!r} is of type {held}; the model takes {_WORDS[feature.type]}")


def _checked(
    cast: Callable[[pa.Array], pa.Array], column: pa.Array, feature: Feature, row: int, source: str, form: CsvForm
) -> pa.Array:
    """Return ``cast(column)``, or say which value it fails at."""
    try:
        return cast(column)
    except pa.ArrowInvalid:
        # The cast names the value but not its place; halving finds it in a few casts.
        good, bad = 0, len(column)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                cast(column.slice(good, middle - good))
                good = middle
            except pa.ArrowInvalid:
                bad = middle
        raise _bad(column, good, feature, row, source, form) from None


def _bad(column: pa.Array, index: int, feature: Feature, row: int, source: str, form: CsvForm) -> InputError:
    return bad_value(
        _place(source, row, index, feature), str(column[index].as_py()), feature, form, first_row=row + index == 0
    )


def bad_value(
    place: str, value: str, feature: Feature, form: CsvForm = _USUAL, *, first_row: bool = False
) -> InputError:
    """Return the error for a value of another type than the model takes; ``form`` is that of the file."""
    hint = form.hint(value, first_row=first_row) if feature.type in _NUMBERS else ""
    shown = one_line(repr(value), 60)
    return InputError(f"{place}: {shown} is not allowed; the model takes {_WORDS[feature.type]}{hint}")


def _place(source: str, row: int, index: int, feature: Feature) -> str:
    return f"{source}: row {row + index + 1:,}, column {feature.name!r}"


def to_pandas(column: pa.Array, feature: Feature) -> pd.Series:
    """Return a converted column as the pandas series that a model was trained on."""
    import pandas as pd

    if feature.type == "boolean":
        if not column.null_count:
            return pd.Series(column.to_numpy(zero_copy_only=False), dtype=bool)
        # As in training: encoders tell None from NaN.
        values = np.array(column.to_pylist(), dtype=object)
        values[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return pd.Series(values, dtype=object)
    if feature.type in ("text", "unknown"):
        return pd.Series(column.to_pandas(), dtype="str")
    values_: Any = column.to_numpy(zero_copy_only=False)
    return pd.Series(values_)
