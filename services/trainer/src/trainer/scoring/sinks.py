"""Writes scored chunks as CSV, compressed or not, or Parquet."""

from __future__ import annotations

import csv as text
import gzip
import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from trainer.data.table_files import PARQUET_SUFFIXES, TABLE_SUFFIXES
from trainer.util.errors import InputError

#: Rows of a Parquet file's row group: many small ones read slowly, large ones stay in memory until they are written.
_GROUP = 1 << 17
#: What tells that a type is one of bytes, which need not be text.
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


class Sink(ABC):
    """Takes chunks in their order. ``prepare`` may run in any thread; the other methods run in one."""

    @staticmethod
    @abstractmethod
    def prepare(chunk: pa.RecordBatch) -> Any:
        """Return the chunk as ``write`` takes it; does whatever can be done before its turn."""

    @abstractmethod
    def write(self, prepared: Any) -> None:
        """Write a chunk."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left, and the file's end."""


def check_name(path: Path) -> None:
    """Refuse a file's name that does not say what to write."""
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise InputError(f"{path}: unknown kind of file; end its name in one of {', '.join(TABLE_SUFFIXES)} (--out)")


def open_sink(path: Path, stream: BinaryIO, schema: pa.Schema) -> Sink:
    """Return the sink that ``path``'s name asks for; it writes to ``stream``.

    Raises:
        InputError: A column is of a type that a CSV file cannot hold.
    """
    name = path.name.lower()
    if name.endswith(PARQUET_SUFFIXES):
        return ParquetSink(stream, schema)
    for field in schema:
        held = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(held) or any(of_bytes(held) for of_bytes in _BYTES):
            raise _not_held(path, field)
    return CsvSink(stream, schema, compress=name.endswith(".gz"))


def _not_held(path: Path | str, field: pa.Field) -> InputError:
    return InputError(f"{path}: CSV cannot hold column {field.name!r} of type {field.type}; write .parquet")


class CsvSink(Sink):
    """Writes CSV with a header; numbers in the fewest digits that read back as the same number."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, *, compress: bool) -> None:
        # The fastest level: the default takes three times as long as scoring does. No time of day in the file.
        self._stream: Any = gzip.GzipFile("", "wb", 1, stream, mtime=0) if compress else stream
        self._owned = compress
        header = io.StringIO()
        text.writer(header, lineterminator="\n").writerow(schema.names)
        self._stream.write(header.getvalue().encode())

    @staticmethod
    def prepare(chunk: pa.RecordBatch) -> memoryview:
        """Return the chunk's lines; quotes only where a chunk needs some."""
        for index, field in enumerate(chunk.schema):
            if pa.types.is_dictionary(field.type):
                chunk = chunk.set_column(index, field.name, chunk.column(index).dictionary_decode())
            elif pa.types.is_string_view(field.type):
                # pyarrow's writer does not know this form of text.
                chunk = chunk.set_column(index, field.name, chunk.column(index).cast(pa.string()))
        try:
            return _lines(chunk, "none")
        except pa.ArrowInvalid:
            pass
        try:
            return _lines(chunk, "needed")
        except pa.ArrowException:
            for index, field in enumerate(chunk.schema):
                try:
                    _lines(chunk.select([index]), "needed")
                except pa.ArrowException:
                    raise _not_held("--out", field) from None
            raise

    def write(self, prepared: memoryview) -> None:
        """Write a chunk's lines."""
        self._stream.write(prepared)

    def close(self) -> None:
        """End the compressed stream."""
        if self._owned:
            self._stream.close()


def _lines(chunk: pa.RecordBatch, quotes: str) -> memoryview:
    buffer = pa.BufferOutputStream()
    csv.write_csv(chunk, buffer, csv.WriteOptions(include_header=False, quoting_style=quotes))
    return memoryview(buffer.getvalue())


class ParquetSink(Sink):
    """Writes Parquet."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = parquet.ParquetWriter(stream, schema)
        self._pending: list[pa.RecordBatch] = []

    @staticmethod
    def prepare(chunk: pa.RecordBatch) -> pa.RecordBatch:
        """Return the chunk as it is."""
        return chunk

    def write(self, prepared: pa.RecordBatch) -> None:
        """Gather chunks into a row group."""
        self._pending.append(prepared)
        if sum(chunk.num_rows for chunk in self._pending) >= _GROUP:
            self._flush()

    def close(self) -> None:
        """Write the last row group, and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, self._schema)
            self._writer.write_table(table, row_group_size=_GROUP)
            self._pending = []
