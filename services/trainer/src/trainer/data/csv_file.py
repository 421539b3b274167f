"""Reads CSV files, and says which row or header is wrong."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

import pandas as pd

from trainer.config.csv_form import CsvForm, separator_option, separator_word
from trainer.config.truth import BOOLEANS
from trainer.data.buckets import Place
from trainer.data.file_errors import check_unique_names, reading
from trainer.data.uneven import open_quote, uneven_rows
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
            head = lines[0] if lines else ""
            if "\x00" in head:
                raise InputError(f"{path}: is not a text file; expected comma-separated text")
            separator = form.separator_of(path)
            if not head.strip().strip(separator + " \t\r\n") and not head.startswith(separator):
                raise InputError(_empty(path, lines, form))
            # A name in quotes may hold lines' ends.
            rows = csv.reader(itertools.chain(lines, stream), delimiter=separator)
            header = next(rows)
            below = next(filter(None, rows), [])
        _check_separator(path, [line for line in lines if line.strip()], form, separator)
        if _width(header) == 1 or head.startswith("#") or len(header) < _width(below):
            _check_title(path, lines, form, separator)
        if not form.header:
            return [f"column_{place}" for place in range(1, len(header) + 1)]
        # Columns without a name are what commas at the lines' ends make.
        try:
            check_unique_names(path, filter(None, header))
        except InputError as error:
            raise InputError(f"{error}{header_hint(header, form)}") from None
    return header


def header_hint(names: Iterable[str], form: CsvForm) -> str:
    """Return which option is needed where a file's columns are not those that were expected; empty for none."""
    if form.skip_lines:
        return f" (--skip-lines is {form.skip_lines}: 0, if the first line names the columns)"
    if form.header and any(map(_is_number, names)):
        return " (--no-header, if the first line is a row)"
    return ""


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
            _check_fields(path, form)
            raise
    # pandas makes missing values of what a row lacks.
    if table.iloc[:, -1].isna().any():
        _check_fields(path, form)
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
    and serving do. None where it is one of texts.
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
        return None
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


def open_text(path: Place, form: CsvForm = _USUAL) -> io.TextIOBase:
    """Return a CSV file as a stream of text, from its header on, or from its first row."""
    opened: Any = path.open("rb")
    if path.name.lower().endswith(".gz"):
        opened = _Unpacked(opened)
    stream = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    for _ in range(form.skip_lines):
        stream.readline()
    return stream


class _Unpacked(gzip.GzipFile):
    """A compressed file, which closes what it reads from."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


def _parsed(path: Place, form: CsvForm, names: list[str], **options: Any) -> pd.DataFrame:
    if options.get("keep_default_na", True):
        options["na_values"] = list(form.missing)
    if not form.header:
        options |= {"header": None, "names": names}
    if form.skip_lines:
        options["skiprows"] = form.skip_lines
    with path.open("rb") as stream:
        table: pd.DataFrame = pd.read_csv(
            stream,
            compression="gzip" if path.name.lower().endswith(".gz") else None,
            sep=form.separator_of(path),
            decimal=form.decimal,
            index_col=False,
            low_memory=False,
            # By default, a number is the nearest to what is written, as pyarrow reads it in chunks.
            encoding="utf-8-sig",
            **options,
        )
    return table


# What is wrong --------------------------------------------------------------------------------------------------------


def _empty(path: Place, lines: list[str], form: CsvForm) -> str:
    if not any(line.strip() for line in lines):
        after = f" after {form.skip_lines} lines (--skip-lines)" if form.skip_lines else ""
        return f"{path}: is empty{after}"
    blank = form.skip_lines + next(place for place, line in enumerate(lines) if line.strip())
    return f"{path}: its first line is empty; it must name the columns (--skip-lines {blank} leaves it out)"


def _check_separator(path: Place, lines: list[str], form: CsvForm, separator: str) -> None:
    """Refuse a file whose lines, or whose header, are of one field, and of several with another separator."""
    one_field = _most_common_width(lines, separator)[0] <= 1
    for other in (";", "\t", "|", ","):
        if other == separator:
            continue
        width, count = _most_common_width(lines, other)
        is_header = len(_fields(lines[0], separator)) == 1 and len(_fields(lines[0], other)) == width
        # Decimal commas in the only column are no separators.
        by_rows = one_field and not (other == "," and form.decimal == ",")
        if width > 1 and 2 * count > len(lines) and (by_rows or is_header):
            raise InputError(
                f"{path}: its columns are separated by {separator_word(other)}; expected {separator_word(separator)}"
                f" ({separator_option(other)})"
            )


def _most_common_width(lines: list[str], separator: str) -> tuple[int, int]:
    """Return the most common number of fields of lines, and how many have it."""
    return Counter(len(_fields(line, separator)) for line in lines).most_common(1)[0]


def _fields(line: str, separator: str) -> list[str]:
    # What the csv module refuses, such as a field of 200 kB, is for the table's own reader to judge.
    with suppress(csv.Error):
        return next(csv.reader([line], delimiter=separator), [])
    return []


def _check_title(path: Place, lines: list[str], form: CsvForm, separator: str) -> None:
    """Refuse a first line that is no header: the lines below it have more fields than it has."""
    rows = [_fields(line, separator) for line in lines]
    counts = [_width(row) for row in rows]
    is_comment = lines[0].startswith("#")
    for place, count in enumerate(counts[1:], start=1):
        below = counts[place + 1 :]
        is_header = count > 1 and not lines[place].startswith("#") and not any(map(_is_number, rows[place]))
        is_header = is_header and 2 * below.count(count) > len(below)
        if is_header and (count > counts[0] or is_comment):
            fields = f"{counts[0]} field{'s' if counts[0] > 1 else ''}"
            raise InputError(
                f"{path}: its first line has {fields}, line {form.skip_lines + place + 1} has {count}; the"
                f" first line must name the columns: if it is {'a comment' if is_comment else 'a title'},"
                f" --skip-lines {form.skip_lines + place} leaves it out"
            )


def _is_number(field: str) -> bool:
    return field.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _width(row: list[str]) -> int:
    """Return how many fields a row has, without the empty ones at its end, which spreadsheets write."""
    return len(row) - next((place for place, field in enumerate(reversed(row)) if field.strip()), len(row))


def check_quotes(path: Place, form: CsvForm) -> None:
    """Refuse a file that ends within quotes.

    Raises:
        InputError: It does.
    """
    with open_text(path, form) as stream:
        if (wrong := open_quote(stream, separator=form.separator_of(path), header=form.header)) is not None:
            raise InputError(f"{path}: {wrong}")


def _check_fields(path: Place, form: CsvForm) -> None:
    # What follows an open quote is missing in its row.
    check_quotes(path, form)
    with open_text(path, form) as stream:
        separator = form.separator_of(path)
        if (wrong := uneven_rows(stream, slack=True, separator=separator, header=form.header)) is not None:
            raise InputError(f"{path}: {wrong}")
