"""Says what is wrong with a CSV file, where, and which option reads it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

from trainer.config.csv_form import CsvForm, separator_option, separator_word
from trainer.data.buckets import Place
from trainer.data.csv_row_faults import escaped_quote, nul_row, open_quote, uneven_rows
from trainer.data.csv_text import open_text
from trainer.util.errors import InputError

#: What some programs write above the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
#: What may separate fields in what was read as one.
_SEVERAL = re.compile(r"\S[^\w\s]\S|\s")


def header_hint(names: Iterable[str], form: CsvForm) -> str:
    """Return which option is needed where a file's columns are not those that were expected; empty for none."""
    names = list(names)
    if len(names) == 1 and _SEVERAL.search(names[0]):
        return " (--separator, if what separates its fields is another character)"
    if form.skip_lines:
        return f" (--skip-lines is {form.skip_lines}: 0, if the first line names the columns)"
    if form.header and any(map(_is_number, names)):
        return " (--no-header, if the first line is a row)"
    return ""


def empty_first_line(path: Place, lines: list[str], form: CsvForm) -> InputError:
    """Return the error for a file whose first line, or whose every line, is empty."""
    if not any(line.strip() for line in lines):
        after = f" after {form.skip_lines} lines (--skip-lines)" if form.skip_lines else ""
        return InputError(f"{path}: is empty{after}")
    blank = form.skip_lines + next(place for place, line in enumerate(lines) if line.strip())
    return InputError(f"{path}: its first line is empty; it must name the columns (--skip-lines {blank} leaves it out)")


def check_first_line(path: Place, lines: list[str], header: list[str], below: list[str], form: CsvForm) -> None:
    """Refuse a first line that is no header, or is one of another form.

    Args:
        path: The file.
        lines: Its first lines.
        header: The fields of the first one.
        below: The fields of the first row.
        form: How the file is said to be written.

    Raises:
        InputError: It is none; the message names the option.
    """
    separator = form.separator_of(path)
    if (named := _SEPARATOR_LINE.fullmatch(lines[0].strip())) is not None:
        option = f" {separator_option(named[1])}" if named[1] != separator else ""
        raise InputError(
            f"{path}: its first line tells spreadsheets what separates the fields, and names no columns; leave it out"
            f" (--skip-lines {form.skip_lines + 1}{option})"
        )
    _check_separator(path, [line for line in lines if line.strip()], form, separator)
    if _width(header) == 1 or lines[0].startswith("#") or len(header) < _width(below):
        _check_title(path, lines, form, separator)


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
    _refuse(path, _found(open_quote, path, form))


def check_escapes(path: Place, form: CsvForm) -> None:
    """Refuse a file in which a quote that is written as a backslash and a quote makes one field of several rows.

    Raises:
        InputError: One does.
    """
    _refuse(path, _found(escaped_quote, path, form))


def nul_refusal(path: Place, form: CsvForm) -> InputError:
    """Return the error for a file that holds a NUL character, which says where."""
    where = _found(nul_row, path, form) or "holds a NUL character above its header; remove it"
    return InputError(f"{path}: {where}")


def _found(find: Callable[..., str | None], path: Place, form: CsvForm) -> str | None:
    """Return what one of the functions of ``csv_row_faults`` says of a file."""
    with open_text(path, form) as stream:
        return find(stream, separator=form.separator_of(path), header=form.header)


def _refuse(path: Place, wrong: str | None) -> None:
    if wrong is not None:
        raise InputError(f"{path}: {wrong}")


def check_repeated_header(path: Place, form: CsvForm) -> None:
    """Refuse a file in which a row is the header once more, as files that were put together have it.

    Raises:
        InputError: One is.
    """
    with suppress(csv.Error), open_text(path, form) as stream:
        rows = csv.reader(stream, delimiter=form.separator_of(path))
        header = next(rows, [])
        for number, row in enumerate(filter(None, rows), start=1):
            if row == header and form.header and len(header) > 1:
                raise InputError(f"{path}: row {number:,} names the columns, as the header does; remove it")


def check_fields(path: Place, form: CsvForm) -> None:
    """Refuse a file of which a row has another number of fields than the header, or that ends within quotes.

    Raises:
        InputError: It has, or does.
    """
    # What follows an open quote is missing in its row.
    check_quotes(path, form)
    with open_text(path, form) as stream:
        separator = form.separator_of(path)
        if (wrong := uneven_rows(stream, slack=True, separator=separator, header=form.header)) is not None:
            raise InputError(f"{path}: {wrong}")
