"""Reads CSV files, and says which row or header is wrong."""

from __future__ import annotations

import csv
import io
import itertools
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from trainer.data.file_errors import check_unique_names, reading
from trainer.data.uneven import uneven_rows
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
            rows = csv.reader(itertools.chain((head, first), stream))
            header = next(rows)
            below = next(rows, [])
        if len(header) == 1:
            for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
                if separator in head:
                    raise InputError(f"{path}: its columns are separated by {word}; expected commas")
        if (len(header) == 1 or head.startswith("#")) and len(below) > len(header):
            what = "a comment" if head.startswith("#") else "a title"
            fields = f"{len(header)} field{'s' if len(header) > 1 else ''}"
            raise InputError(
                f"{path}: its first line has {fields}, the next {len(below)}; remove it if it is {what}: the first line"
                " must name the columns"
            )
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


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        import gzip

        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
