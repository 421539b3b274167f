"""Finds and opens the files of a table that is read in chunks."""

from __future__ import annotations

from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place
from trainer.data.file_errors import reading
from trainer.data.row_chunks.csv_source import CsvSource
from trainer.data.row_chunks.parquet_source import ParquetSource
from trainer.data.row_chunks.parts_source import PartsSource
from trainer.data.row_chunks.source import TableSource
from trainer.data.table_files import TableFiles, is_parquet, table_files


def check_source(path: Place) -> TableFiles:
    """Return the files of a table, each of which can be opened.

    Raises:
        InputError: There is no such file, it cannot be opened, or its name is not that of a table.
    """
    files = table_files(path)
    for file in files.files:
        with reading(file), file.open("rb"):
            pass
    return files


def open_source(path: Place, form: CsvForm) -> TableSource:
    """Return the table at ``path``.

    Args:
        path: A file, a folder of parts, or a pattern.
        form: How it is written, if it is CSV.

    Raises:
        InputError: The file is not there, or holds no table.
    """
    return open_files(check_source(path), form)


def open_files(files: TableFiles, form: CsvForm, scale: int = 1) -> TableSource:
    """Return the table in files; see ``open_source``. Chunks are ``scale`` times as large as otherwise."""
    opened = [
        ParquetSource(file, form, scale) if is_parquet(file) else CsvSource(file, form, scale) for file in files.files
    ]
    return opened[0] if len(opened) == 1 else PartsSource(files.place, opened)


def count_rows(file: Place, form: CsvForm) -> int:
    """Return how many rows a file has: a Parquet file says so, and a CSV file is read to count them."""
    source = open_files(TableFiles(file, (file,)), form)
    if isinstance(source, ParquetSource):
        return int(source.rows)
    return sum(chunk.num_rows for chunk in source.chunks((), source.names[:1]))
