"""How values are written in files and requests: what is missing, what is a number, what a category is called.

One set of rules for training, scoring and serving. Imports nothing heavy: a server reads requests by it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, get_args

#: "unknown" is a column without a value in training: whatever it holds later on, the model makes no use of it.
ColumnType = Literal["number", "boolean", "text", "unknown"]
COLUMN_TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
#: What pandas takes for a missing value in a CSV file. It is one in every format, so that a model of the one format
#: scores the other alike.
MISSING_VALUES = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)


def category_text(value: object) -> str:
    """Return a category as text; a whole number reads the same, of whichever type of numbers its column is."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    return str(value)


def parse_number(text: str) -> float:
    """Return the number that a text is, by the rules of pyarrow, which reads files to score.

    Python also takes underscores, and the digits of other scripts.

    Raises:
        ValueError: The text is no number.
    """
    if not text.isascii() or "_" in text:
        text = text.strip()
        if not text.isascii() or "_" in text:
            raise ValueError(text)
    return float(text)
