"""Reads CSV files; see ``csv_faults`` for what is said of those that cannot be read."""

from __future__ import annotations

import csv
import itertools
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd

from trainer.config.boolean_words import BOOLEANS
from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place
from trainer.data.csv_faults import (
    check_escapes,
    check_fields,
    check_first_line,
    check_repeated_header,
    empty_first_line,
    header_hint,
    nul_refusal,
)
from trainer.data.csv_text import WithoutNul, open_bytes, open_text
from trainer.data.file_errors import check_unique_names, reading
from trainer.util.errors import InputError

_USUAL = CsvForm()
#: So many lines are looked at for the header, where the first is none.
_LOOKED_AT = 50


def csv_header(path: Place, form: CsvForm = _USUAL) -> list[str]:
    """Return the names of the columns of a CSV file.

    Args:
        path: A .csv or .tsv file, or one of them compressed (.gz).
        form: How it is written. Without a header, the names are ``column_1`` and so on.

    Raises:
        InputError: Its header, or first row, is none of this form; the message names the option.
    """
    with reading(path):
        with open_text(path, form) as stream:
            lines = list(itertools.islice(stream, _LOOKED_AT))
            # Of several byte order marks, pandas leaves out all.
            head = lines[0].lstrip("\ufeff") if lines else ""
            lines[:1] = [head]
            if "\x00" in head:
                raise InputError(f"{path}: is not a text file; expected comma-separated text")
            separator = form.separator_of(path)
            if not head.strip().strip(separator + " \t\r\n") and not head.startswith(separator):
                raise empty_first_line(path, lines, form)
            # A name in quotes may hold lines' ends.
            rows = csv.reader(itertools.chain(lines, stream), delimiter=separator)
            header = next(rows)
            below = next(filter(None, rows), [])
        check_first_line(path, lines, header, below, form)
        if not form.header:
            return [f"column_{place}" for place in range(1, len(header) + 1)]
        # Columns without a name are what commas at the lines' ends make.
        try:
            check_unique_names(path, filter(None, header))
        except InputError as error:
            raise InputError(f"{error}{header_hint(header, form)}") from None
    if not any(below[len(header) :]):
        # The rows alone end in separators, as some programs write them: columns without a name, as pandas calls them.
        header += [_unnamed(place) for place in range(len(header), len(below))]
    return header


def _unnamed(place: int) -> str:
    return f"Unnamed: {place}"


def read_csv(path: Place, texts: Iterable[str], form: CsvForm = _USUAL, numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Return the table in a CSV file; the columns in ``texts`` are read as text, those in ``numbers`` as decimals."""
    names, wanted = csv_header(path, form), set(texts)
    with warnings.catch_warnings():
        # A line with more fields than the header is a mistake to report, not data to drop.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            dtypes = {**dict.fromkeys(numbers, "float64"), **dict.fromkeys(wanted, "str")}
            table = _parsed(path, form, names, dtype=dtypes)
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            check_fields(path, form)
            raise
    if any((table[name] == name).any() for name in table.columns if is_text(table[name])):
        check_repeated_header(path, form)
    # pandas makes missing values of what a row lacks.
    if table.iloc[:, -1].isna().any():
        check_fields(path, form)
    for name in table.columns:
        if name not in wanted and is_text(table[name]) and (values := _as_meant(table[name], form)) is not None:
            table[name] = values
    if form.not_missing:
        kept = [name for name in table.columns if is_text(table[name]) and table[name].isna().any()]
        again = as_written(path, form, kept)
        for name in kept:
            table[name] = again[name].where(~again[name].isin(form.text_gaps))
    return table


def _as_meant(texts: pd.Series, form: CsvForm) -> pd.Series | None:
    """Return a column that pandas takes for texts as numbers or booleans, where it is one of these beside white space.

    pandas sees neither a missing value in " NA " and in white space alone, nor a boolean in " true" and "tRuE"; scoring
    and serving do. Where nothing else is in it, it has no value. None where it is one of texts.
    """
    values: dict[object, object] = {}
    kinds: set[type] = set()
    for text in texts.dropna().unique():
        word = str(text).strip()
        if word in form.gaps:
            values[text] = float("nan")
            continue
        if (truth := BOOLEANS.get(word.lower())) is not None:
            values[text] = truth
        else:
            try:
                values[text] = form.parse_number(word)
            except ValueError:
                return None
        kinds.add(type(values[text]))
        if len(kinds) > 1:
            return None
    if not kinds:
        return texts.mask(texts.notna()) if values else None
    column = texts.astype(object).map(values)
    return column.astype("float64") if float in kinds else column


def as_written(path: Place, form: CsvForm, names: Iterable[str]) -> pd.DataFrame:
    """Return columns of a CSV file as they are written: no word stands for a missing value."""
    wanted = list(names)
    if not wanted:
        return pd.DataFrame()
    return _parsed(path, form, csv_header(path, form), usecols=wanted, dtype="str", keep_default_na=False)


def is_text(column: pd.Series) -> bool:
    """Tell whether a column that was read is one of texts."""
    return isinstance(column.dtype, pd.StringDtype)


def _parsed(path: Place, form: CsvForm, names: list[str], **options: Any) -> pd.DataFrame:
    if options.get("keep_default_na", True):
        options["na_values"] = list(form.missing)
    if not form.header:
        options |= {"header": None, "names": names}
    elif names[-1] == _unnamed(len(names) - 1):
        options |= {"header": 0, "names": [name or _unnamed(place) for place, name in enumerate(names)]}
    if form.skip_lines:
        options["skiprows"] = form.skip_lines
    with open_bytes(path) as stream:
        checked = WithoutNul(stream, partial(nul_refusal, path, form))
        table: pd.DataFrame = pd.read_csv(
            checked,
            sep=form.separator_of(path),
            decimal=form.decimal,
            index_col=False,
            low_memory=False,
            # By default, a number is the nearest to what is written, as pyarrow reads it in chunks.
            encoding="utf-8-sig",
            **options,
        )
    if checked.escapes and "usecols" not in options:
        check_escapes(path, form)
    return table
