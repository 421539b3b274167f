"""Says which row of a CSV table has more or fewer fields than the header, a wrong quote, or a NUL. Servers use it too.

It imports nothing heavy.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

#: The largest field, in letters: an open quote has all that follows it.
_WHOLE_FILE = 2**31 - 1


def uneven_rows(lines: Iterable[str], *, slack: bool = False, separator: str = ",", header: bool = True) -> str | None:
    """Return what is wrong with a CSV table of which a row has more or fewer fields than the header, or None.

    With ``slack``, commas at a row's end are left out, as pandas does.
    """
    rows = (row for row in csv.reader(lines, delimiter=separator) if len(row) > 1 or (row and row[0].strip()))
    # What the csv module refuses, such as a field of 200 kB, is for the table's own reader to judge.
    with suppress(csv.Error):
        width = len(next(rows, []))
        for number, row in enumerate(rows, start=1 if header else 2):
            if len(row) < width or (len(row) > width and not (slack and not any(row[width:]))):
                return uneven_row(number, len(row), width, separator=separator, header=header)
    return None


def uneven_row(row: int, fields: int, width: int, *, separator: str = ",", header: bool = True) -> str:
    """Return what is wrong with a row that has another number of fields than the header."""
    holds = "a comma" if separator == "," else repr(separator)
    advice = "complete it, or remove it" if fields < width else f"a field that holds {holds} needs quotes"
    first = "header" if header else "first row"
    return f"row {row:,} has {fields} field{'s' if fields != 1 else ''}, the {first} {width}; {advice}"


def nul_row(lines: Iterable[str], *, separator: str = ",", header: bool = True) -> str | None:
    """Return which row of a CSV table holds a NUL character, which no text has and no terminal shows, or None."""
    for number, place, names, field in _fields(lines, separator, header):
        if "\0" in field:
            return f"{_where(number, place, names)}: holds a NUL character; remove it"
    return None


def escaped_quote(lines: Iterable[str], *, separator: str = ",", header: bool = True) -> str | None:
    r"""Return where a CSV table has a field that ends in ``\""``, and swallows all rows up to the next such field.

    Some programs write a quote within a field as ``\"``, and not as two quotes. The swallowed rows are told from a
    text of several lines by what they are: the rest of a row, whole rows, and the beginning of one.
    """
    for number, place, names, field in _fields(lines, separator, header):
        if '\\"' in field and len(held := field.splitlines()) > 1 and _are_rows(held, place, len(names), separator):
            return (
                f"{_where(number, place, names)}: holds {len(held):,} lines of the file, because a quote is written as"
                ' \\" there; write it as two quotes'
            )
    return None


def _are_rows(held: Sequence[str], place: int, width: int, separator: str) -> bool:
    """Tell whether the lines of a field at a ``place`` in its row are rows of a table of ``width`` columns."""

    def count(line: str) -> int:
        return len(next(csv.reader([line], delimiter=separator), []))

    first, *whole, last = held
    # Of the first row, what follows the quote: its further fields, if it has any.
    rests = [
        count(rest[1:]) if rest.startswith(separator) else 0
        for rest in first.split('\\"')[1:]
        if rest[:1] in ("", separator)
    ]
    return width - place - 1 in rests and {*map(count, whole)} <= {width} and count(last) == place + 1


def _fields(lines: Iterable[str], separator: str, header: bool) -> Iterator[tuple[int, int, Sequence[str], str]]:
    """Yield each field of a CSV table: the number of its row, its place in it, the names of the columns, its text."""
    names: list[str] = []
    # What the csv module refuses is for the table's own reader to judge.
    with suppress(csv.Error):
        for number, row in enumerate(filter(None, csv.reader(lines, delimiter=separator)), start=0 if header else 1):
            names = names or (row if header else [f"column_{place}" for place in range(1, len(row) + 1)])
            for place, field in enumerate(row):
                yield number, place, names, field


def _where(number: int, place: int, names: Sequence[str]) -> str:
    row = f"row {number:,}" if number else "the header"
    return f"{row}, column {names[place]!r}" if place < len(names) else row


def open_quote(lines: Iterable[str], *, separator: str = ",", header: bool = True) -> str | None:
    """Return what is wrong with a CSV table that ends within quotes, or None.

    Readers of such a table take all that follows the quote for one field, and say nothing.
    """
    before = csv.field_size_limit(_WHOLE_FILE)
    number = 0 if header else 1
    try:
        for row in csv.reader(lines, delimiter=separator, strict=True):
            number += bool(row)
    except csv.Error as error:
        # Of other faults, the table's own reader is the judge.
        if "unexpected end" in str(error):
            return f"row {number:,}: a quote is left open: what follows it would be one field; close it, or double it"
    finally:
        csv.field_size_limit(before)
    return None
