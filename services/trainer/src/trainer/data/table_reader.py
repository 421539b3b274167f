"""Reads a CSV or Parquet file as one table, without the columns that are no data."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

import pandas as pd

from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place
from trainer.data.csv_file import read_csv
from trainer.data.file_errors import check_unique_names, reading
from trainer.data.missing_words import missing_words_warning
from trainer.data.table_files import TABLE_SUFFIXES, is_parquet, is_table
from trainer.util.errors import InputError
from trainer.util.text import listed

_USUAL = CsvForm()
#: The index of rows that pandas writes without a name, and what it calls it when it reads a file; of two, 0.1 and 0.
_INDEX = re.compile(r"(?:Unnamed: 0(?:\.\d+)?)?")


def read_column(path: Place, warnings: list[str], form: CsvForm = _USUAL) -> pd.Series:
    """Return the only column of a file."""
    table = read_table(path, warnings, form=form)
    if table.shape[1] != 1:
        raise InputError(f"{path}: must have one column, the target; it has {listed(table.columns)}")
    return table.iloc[:, 0]


def read_table(
    path: Place,
    warnings: list[str],
    texts: Iterable[str] = (),
    form: CsvForm = _USUAL,
    numbers: Iterable[str] = (),
    unused: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a file's table, without the index that pandas may have written.

    Columns in ``texts`` are read as they are written, and those in ``numbers`` as decimals, from a CSV file. From a
    Parquet file, whole numbers in ``texts`` keep all their digits beside missing values. Of the columns in ``unused``,
    nothing is said.
    """
    if not is_table(path):
        raise InputError(f"{path}: unknown kind of file; expected one of {', '.join(TABLE_SUFFIXES)}")
    with reading(path):
        is_csv = not is_parquet(path)
        table = read_csv(path, texts, form, numbers) if is_csv else _read_parquet(path, warnings, texts)
        words = missing_words_warning(path, table.drop(columns=[*unused], errors="ignore"), form, is_csv=is_csv)
    if table.columns.empty:
        raise InputError(f"{path}: has no columns")
    if table.empty:
        raise no_rows(path, form)
    kept = _without_unnamed(table, path, warnings)
    if words is not None:
        warnings.append(words)
    return kept


def is_index_name(name: str) -> bool:
    """Tell whether a first column's name is that of an index which pandas wrote."""
    return _INDEX.fullmatch(name) is not None


def unnamed_columns(names: Sequence[str]) -> tuple[int, list[int]]:
    """Return how many first columns are indexes that pandas wrote, and the places of the others without a name."""
    # At least one column stays.
    indexes = len(list(itertools.takewhile(is_index_name, names[:-1])))
    return indexes, [
        place for place, name in enumerate(names) if place >= indexes and name in ("", f"Unnamed: {place}")
    ]


def unnamed_warnings(path: Place, indexes: int, unnamed: Sequence[int]) -> list[str]:
    """Return the warnings on what ``unnamed_columns`` found, which is left out."""
    found = []
    if indexes:
        what = "column is taken for an index" if indexes == 1 else f"{indexes} columns are taken for indexes"
        found.append(f"{path.name}: its unnamed first {what} and left out")
    if len(unnamed) == 1:
        found.append(f"{path.name}: its column {unnamed[0] + 1} has no name and no values, and is left out")
    elif unnamed:
        found.append(f"{path.name}: {len(unnamed)} of its columns have no name and no values, and are left out")
    return found


def no_rows(path: Place, form: CsvForm) -> InputError:
    """Return the error for a table without a row."""
    return InputError(f"{path}: has {'a header but ' if form.header and not is_parquet(path) else ''}no rows")


def no_name(path: Place, place: int) -> InputError:
    """Return the error for a column that has values and no name."""
    return InputError(f"{path}: column {place + 1} has no name; name it, or remove it")


def _without_unnamed(table: pd.DataFrame, path: Place, warnings: list[str]) -> pd.DataFrame:
    """Return a table without the indexes that pandas wrote, and the empty columns that commas at lines' ends make."""
    names = [str(name) for name in table.columns]
    indexes, unnamed = unnamed_columns(names)
    for place in unnamed:
        if table[names[place]].notna().any():
            raise no_name(path, place)
    warnings += unnamed_warnings(path, indexes, unnamed)
    kept = table.drop(columns=[*names[:indexes], *(names[place] for place in unnamed)])
    if indexes:
        kept.index = pd.Index(table.iloc[:, 0], name=names[0])
    return kept


def index_warning(path: Place, index: Sequence[str]) -> str:
    """Return the warning on columns that pandas wrote as an index into a Parquet file."""
    return f"{path.name}: its pandas index {listed(index)} is left out"


def _read_parquet(path: Place, warnings: list[str], texts: Iterable[str]) -> pd.DataFrame:
    import pyarrow.parquet
    import pyarrow.types

    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty")
    with path.open("rb") as stream:
        schema = pyarrow.parquet.read_schema(stream)
        check_unique_names(path, schema.names)
        table = pd.read_parquet(stream)
        for name in set(texts).intersection(schema.names).intersection(table.columns):
            # pandas makes decimals of them.
            if pyarrow.types.is_integer(schema.field(name).type) and table[name].dtype.kind == "f":
                column = pyarrow.parquet.read_table(stream, columns=[name]).column(name)
                table[name] = column.cast(pyarrow.string()).to_pandas().array
    if index := [str(name) for name in table.index.names if name is not None]:
        warnings.append(index_warning(path, index))
    table = table.reset_index(drop=True)
    table.columns = pd.Index([str(name) for name in table.columns])
    return table
