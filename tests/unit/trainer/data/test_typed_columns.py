"""A column of each type that Parquet knows is the same feature, or the same refusal, in memory and in passes."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from trainer.config.stream import Stream
from trainer.data.arrow_columns import Feature, convert
from trainer.data.sources import load_data
from trainer.util.errors import InputError

ROWS = 60
MOMENT = datetime.datetime(2026, 5, 6, 7, 8, 9)
WORDS = ["a", "b", "c"] * (ROWS // 3)
NUMBERS = [0.5, 1.5, 2.5] * (ROWS // 3)
TAKEN = {
    "text": [
        *(pa.array(WORDS, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        pa.array(WORDS).dictionary_encode(),
    ],
    "number": [
        pa.array(NUMBERS),
        pa.array(np.array(NUMBERS, dtype="float16")),
        pa.array([Decimal("1.5"), Decimal("2.5")] * (ROWS // 2)),
        pa.array([2**64 - 1, 1] * (ROWS // 2), pa.uint64()),
        pa.array([1, 2] * (ROWS // 2)).dictionary_encode(),
    ],
    "boolean": [pa.array([True, False] * (ROWS // 2)), pa.array([True, False] * (ROWS // 2)).dictionary_encode()],
    "unknown": [
        pa.nulls(ROWS, kind)
        for kind in (pa.null(), pa.string(), pa.int8(), pa.timestamp("us"), pa.binary(), pa.list_(pa.int8()))
    ],
}
REFUSED = [
    pa.array([MOMENT] * ROWS),
    pa.array([MOMENT.date()] * ROWS),
    pa.array([MOMENT.time()] * ROWS),
    pa.array([datetime.timedelta(seconds=5)] * ROWS),
    pa.array([b"a"] * ROWS),
    pa.array([[1]] * ROWS),
    pa.array([{"a": 1}] * ROWS),
    pa.array([None] * (ROWS - 1) + [MOMENT]),
]
STREAMS: tuple[Stream, ...] = ("never", "always")


def file_with(column: pa.Array, folder: Path) -> Path:
    x = np.arange(ROWS) / 7
    parquet.write_table(pa.table({"x": x, "it": column, "y": [0, 1] * (ROWS // 2)}), folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(
    ("kind", "column"),
    [(kind, column) for kind, columns in TAKEN.items() for column in columns],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_typed_column_is_one_kind_of_feature(tmp_path: Path, stream: Stream, kind: str, column: pa.Array) -> None:
    dataset = load_data(file_with(column, tmp_path), target="y", stream=stream)
    assert dataset.column_types == {"x": "number", "it": kind}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("column", REFUSED, ids=lambda column: f"{column.type}-{column.null_count}")
def test_other_types_are_refused_alike(tmp_path: Path, stream: Stream, column: pa.Array) -> None:
    """The line names file and column, and what to do; also where the last row alone has a value."""
    with pytest.raises(InputError) as refused:
        load_data(file_with(column, tmp_path), target="y", stream=stream)
    words = str(refused.value)
    assert words.startswith(f"{tmp_path / 't.parquet'}: column 'it' holds ")
    assert words.endswith("; turn them into numbers, booleans or text, or leave the column out (--drop)")


@pytest.mark.parametrize("stream", STREAMS)
def test_short_floats_can_be_categories(tmp_path: Path, stream: Stream) -> None:
    """Arrow has few functions for numbers of two bytes; as texts they are what they are as numbers of eight."""
    short = TAKEN["number"][1]
    dataset = load_data(file_with(short, tmp_path), target="y", categorical=["it"], stream=stream)
    assert dataset.column_types["it"] == "text"
    scored = convert(short, Feature("it", "text"), 0, "", from_text=False)
    assert scored.to_pylist() == [str(number) for number in NUMBERS]
