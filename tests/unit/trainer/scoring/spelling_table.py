"""One table of how values may be written, and what each is read as, in every way that data meets a model."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Format = Literal["csv", "parquet", "json"]
#: What a value is read as where it is none of the column's type: one line says so.
REFUSED = "refused"
MISSING = None
UNKNOWN = "a category that the model does not know"
#: Two identifiers that share a decimal.
ODD, EVEN = "9007199254740993", "9007199254740992"


@dataclass(frozen=True)
class Spelling:
    """A value of a column as it is written, and what it is read as.

    ``form`` names how the CSV files of the training were written; see ``FORMS``.
    """

    format: Format
    column: str
    written: Any
    read: Any
    form: str = "usual"

    def __str__(self) -> str:
        """Return a name for a test."""
        shown = self.written.type if isinstance(self.written, pa.Array) else self.written
        return f"{self.format}-{self.column}-{ascii(shown) if isinstance(shown, str) else shown}-{self.form}"


def _table(format_: Format, column: str, rows: dict[Any, list[Any]], form: str = "usual") -> list[Spelling]:
    return [Spelling(format_, column, written, read, form) for read, some in rows.items() for written in some]


_MISSING_WORDS = ["", "NA", "NaN", "nan", "None", "null", "NULL", "N/A", "n/a", "#N/A", "<NA>"]
_MOMENT = datetime.datetime(2026, 5, 6, 7, 8, 9)
#: None is what a column's type alone says, whatever its values.
_NO_NUMBERS = [
    "1_000",
    "nan(1)",
    "-nan(ind)",
    "\u0661\u0662",
    "0x10",
    "1 000",
    "\u22121",
    "5%",
    "$5",
    "12abc",
    "1,5",
    "?",
    "-",
    "1/2",
]
_TRUTHS = ["true", "TRUE", "True", "tRuE", " true "]
_DATES = [
    pa.array([_MOMENT.date()]),
    pa.array([_MOMENT], pa.timestamp("us")),
    pa.array([_MOMENT.time()], pa.time64("us")),
    pa.array([datetime.timedelta(seconds=5)], pa.duration("s")),
]
_OTHERS = [*_DATES, pa.array([b"1"]), pa.array([[1]]), pa.array([{"a": 1}])]
#: Without a value, a column's type says nothing.
_NOTHING = [pa.nulls(1, of) for of in (pa.null(), pa.string(), pa.bool_(), pa.int8(), pa.timestamp("us"), pa.binary())]
_DIGITS = [pa.array(["12"], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())]

CSV = [
    *_table(
        "csv",
        "number",
        {
            12.0: ["12", "12.0", " 12", "12 ", "+12", "1.2e1", "1.2E1", "012", "12.", "\u00a012", "12\u2003"],
            0.5: [".5", "0.50", "5e-1"],
            1000.0: ["1000", "1e3", "1E+3"],
            np.inf: ["inf", "Infinity", "1e400"],
            -np.inf: ["-inf"],
            MISSING: [*_MISSING_WORDS, " ", " NA ", "NAN", "+nan"],
            REFUSED: [*_NO_NUMBERS, "TRUE", "true", "False", "2026-05-06", "1f", "1d"],
        },
    ),
    *_table(
        "csv",
        "flag",
        {
            True: _TRUTHS,
            False: ["false", "FALSE", "False", " false"],
            MISSING: [*_MISSING_WORDS, " "],
            REFUSED: ["1", "0", "1.0", "yes", "no", "t", "on", "?"],
        },
    ),
    *_table(
        "csv",
        "word",
        {
            "a": ["a"],
            "7": ["7"],
            ODD: [ODD],
            EVEN: [EVEN],
            "true": ["true"],
            "2026-05-06": ["2026-05-06"],
            MISSING: _MISSING_WORDS,
            UNKNOWN: [" a", "A", "7.0", "07", "TRUE", "True", "?", " ", "na", "\u0667", "2026-05-06T00:00"],
        },
    ),
    *_table("csv", "number", {MISSING: ["?", "NA", ""], REFUSED: ["unknown", "-"]}, "words"),
    *_table("csv", "flag", {MISSING: ["?", "NA", ""], True: ["true"]}, "words"),
    *_table("csv", "word", {MISSING: ["?", "", "null"], "NA": ["NA"], UNKNOWN: ["na"]}, "words"),
    *_table("csv", "number", {0.5: ["0,5", ",5"], 12.0: ["12"], REFUSED: ["0.5", "1.000,5", "1_000"]}, "comma"),
    *_table("csv", "word", {"a": ["a"], MISSING: ["NA"], UNKNOWN: ["0,5"]}, "comma"),
]
PARQUET = [
    *_table(
        "parquet",
        "number",
        {
            12.0: [
                *(pa.array([12], kind) for kind in (pa.int8(), pa.int64(), pa.uint64())),
                *(pa.array([np.float16(12)], pa.float16()), pa.array([12.0], pa.float32()), pa.array([12.0])),
                *(pa.array([Decimal("12.00")]), pa.array([Decimal(12)], pa.decimal256(50, 0))),
                pa.array([12]).dictionary_encode(),
            ],
            MISSING: [pa.array([np.nan]), pa.array([None], pa.decimal128(5, 2)), *_NOTHING],
            REFUSED: [pa.array([True]), *_DIGITS, *_OTHERS],
        },
    ),
    *_table(
        "parquet",
        "flag",
        {
            True: [pa.array([True]), pa.array([True]).dictionary_encode()],
            MISSING: _NOTHING,
            REFUSED: [pa.array([1]), pa.array([1.0]), pa.array(["true"]), *_OTHERS],
        },
    ),
    *_table(
        "parquet",
        "word",
        {
            "a": [
                *(pa.array(["a"], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
                pa.array(["a"]).dictionary_encode(),
            ],
            "7": [pa.array([7]), pa.array([7.0]), pa.array([Decimal("7.00")]), pa.array([7], pa.int8())],
            ODD: [*(pa.array([int(ODD)], kind) for kind in (pa.int64(), pa.uint64())), pa.array([Decimal(ODD)])],
            EVEN: [pa.array([int(EVEN)]), pa.array([float(EVEN)]), pa.array([int(EVEN)]).dictionary_encode()],
            MISSING: [pa.array(["NA"]), pa.array([""]), pa.array([np.nan]), *_NOTHING],
            UNKNOWN: [pa.array([" a"]), pa.array([7.5]), pa.array(["7.0"])],
            REFUSED: _OTHERS,
        },
    ),
    *_table("parquet", "word", {"NA": [pa.array(["NA"])], MISSING: [pa.array(["?"])]}, "words"),
]
JSON = [
    *_table(
        "json",
        "number",
        {
            12.0: [12, 12.0, "12", " 12 ", "1.2e1"],
            MISSING: [None, "nan"],
            REFUSED: [True, False, *_NO_NUMBERS, "", "NA", "true"],
        },
    ),
    *_table(
        "json",
        "flag",
        {True: [True, *_TRUTHS], False: [False, "FALSE"], MISSING: [None], REFUSED: [1, 0, 1.0, "1", "yes", "", "NA"]},
    ),
    *_table(
        "json",
        "word",
        {
            "a": ["a"],
            "7": ["7", 7, 7.0],
            ODD: [int(ODD)],
            EVEN: [int(EVEN)],
            "true": ["true"],
            MISSING: [None],
            UNKNOWN: [" a", "7.0", 7.5, "NA", ""],
        },
    ),
]
SPELLINGS = [*CSV, *PARQUET, *JSON]
