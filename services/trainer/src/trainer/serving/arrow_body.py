"""Reads a request's body in Parquet or Arrow's stream format. Imported at the first such request: pyarrow is large."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet

from trainer.serving.body import RequestError, Table
from trainer.util.text import one_line

#: A few bytes of Parquet can stand for any number of values. This many are 32 MiB as numbers.
MOST_VALUES = 4 * 1024**2


def read_parquet(body: bytes) -> Table:
    """Return the table in a Parquet file.

    Raises:
        RequestError: It is none, or holds too much.
    """
    try:
        with parquet.ParquetFile(io.BytesIO(body)) as file:
            metadata = file.metadata
            _check_size(metadata.num_rows, metadata.num_columns)
            sizes = (metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
            if sum(sizes) > 16 * MOST_VALUES:
                raise _too_large()
            return _table(file.read(use_threads=False))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _not_valid("Parquet", error) from None


def read_arrow(body: bytes) -> Table:
    """Return the table in a stream of Arrow's record batches.

    Raises:
        RequestError: It is none, holds too much, or is compressed.
    """
    try:
        messages = ipc.MessageReader.open_stream(io.BytesIO(body))
        for message in messages:
            if message.type in ("record batch", "dictionary") and _compressed(message):
                raise RequestError("the Arrow stream is compressed; send it uncompressed, or send Parquet")
        batches: list[pa.RecordBatch] = []
        rows = 0
        with ipc.open_stream(body) as reader:
            for batch in reader:
                rows += batch.num_rows
                _check_size(rows, max(batch.num_columns, 1))
                batches.append(batch)
            return _table(pa.Table.from_batches(batches, reader.schema))
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise _not_valid("Arrow", error) from None


def _compressed(message: Any) -> bool:
    """Tell whether a record batch is compressed: what its buffers would become is nowhere bounded.

    pyarrow does not say so before it decompresses. The message's metadata is a flatbuffer (Message.fbs of Arrow's
    format): Message.header is its field 2, DictionaryBatch.data its field 1, RecordBatch.compression its field 3.
    """
    data = message.metadata.to_pybytes()
    (root,) = struct.unpack_from("<I", data)
    header = _follow(data, root, 2)
    if message.type == "dictionary" and header:
        header = _follow(data, header, 1)
    return bool(header and _field(data, header, 3))


def _field(data: bytes, table: int, index: int) -> int:
    """Return where a field of a flatbuffer's table lies, or 0 where it is not set."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    if 4 + 2 * index >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, table - back + 4 + 2 * index)
    return table + int(offset) if offset else 0


def _follow(data: bytes, table: int, index: int) -> int:
    place = _field(data, table, index)
    return place + int(struct.unpack_from("<I", data, place)[0]) if place else 0


def _table(table: pa.Table) -> Table:
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"column {name!r} appears more than once; columns need names of their own")
    columns: Mapping[str, Sequence[Any]] = {name: _values(table.column(name)) for name in names}
    return Table(columns, table.num_rows, typed=True)


def _values(column: pa.ChunkedArray) -> Any:
    """Return numbers as an array, with NaN for missing ones, and everything else as a list."""
    held = column.type
    if pa.types.is_floating(held) or (pa.types.is_integer(held) and held.bit_width <= 32):
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    return column.to_pylist()


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MOST_VALUES:
        raise _too_large()


def _too_large() -> RequestError:
    message = f"the request holds more than {MOST_VALUES:,} values; send the rows in several requests"
    return RequestError(message, status=413)


def _not_valid(name: str, error: BaseException) -> RequestError:
    return RequestError(f"the request is not valid {name}: {one_line(error, 200)}")
