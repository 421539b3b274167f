"""Reads CSV files, and says which row or header is wrong."""

from __future__ import annotations

import csv
import io
import itertools
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from trainer.data.file_errors import check_unique_names, reading
from trainer.util.errors import InputError


def csv_header(path: Path) -> list[str]:
    """Return the names in the header of a CSV file.

    Args:
        path: A .csv or .csv.gz file.

    Raises:
        InputError: It does not name columns, each once, separated by commas.
    """
    with reading(path):
        with _open_text(path) as stream:
            head = stream.readline()
            first = stream.readline()
            if not head.strip():
                raise InputError(
                    f"{path}: is empty"
                    if not first.strip()
                    else f"{path}: its first line is empty; it must name the columns"
                )
            if "\x00" in head:
                raise InputError(f"{path}: is not a text file; expected comma-separated text")
            # A name in quotes may hold lines' ends.
            header = next(csv.reader(itertools.chain((head, first), stream)))
        if len(header) == 1:
            for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
                if separator in head:
                    raise InputError(f"{path}: its columns are separated by {word}; expected commas")
        # Columns without a name are what commas at the lines' ends make.
        check_unique_names(path, filter(None, header))
    return header


def read_csv(path: Path, texts: Iterable[str]) -> pd.DataFrame:
    """Return the table in a CSV file; the columns in ``texts`` are read as text."""
    csv_header(path)
    with warnings.catch_warnings():
        # A line with more fields than the header is a mistake to report, not data to drop.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        types = dict.fromkeys(texts, "str")
        try:
            table = pd.read_csv(path, index_col=False, low_memory=False, encoding="utf-8-sig", dtype=types)
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            _check_fields(path)
            raise
    # pandas makes missing values of what a row lacks.
    if table.iloc[:, -1].isna().any():
        _check_fields(path)
    return table


def _check_fields(path: Path) -> None:
    with _open_text(path) as stream:
        if (wrong := uneven_rows(stream, slack=True)) is not None:
            raise InputError(f"{path}: {wrong}")


def uneven_rows(lines: Iterable[str], *, slack: bool = False) -> str | None:
    """Return what is wrong with a CSV table of which a row has more or fewer fields than the header, or None.

    With ``slack``, commas at a row's end are left out, as pandas does.
    """
    rows = (row for row in csv.reader(lines) if len(row) > 1 or (row and row[0].strip()))
    # What the csv module refuses, such as a field of 200 kB, is for the table's own reader to judge.
    with suppress(csv.Error):
        width = len(next(rows, []))
        for number, row in enumerate(rows, start=1):
            if len(row) < width or (len(row) > width and not (slack and not any(row[width:]))):
                return uneven_row(number, len(row), width)
    return None


def uneven_row(row: int, fields: int, width: int) -> str:
    """Return what is wrong with a row that has another number of fields than the header."""
    advice = "complete it, or remove it" if fields < width else "a field that holds a comma needs quotes"
    return f"row {row:,} has {fields} field{'s' if fields != 1 else ''}, the header {width}; {advice}"


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        import gzip

        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
