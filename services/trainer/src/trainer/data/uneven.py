"""Says which row of a CSV table has more or fewer fields than the header, an open quote, or a NUL. Servers use it too.

It imports nothing heavy.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
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
    names: list[str] = []
    # What the csv module refuses is for the table's own reader to judge.
    with suppress(csv.Error):
        for number, row in enumerate(filter(None, csv.reader(lines, delimiter=separator)), start=0 if header else 1):
            names = names or (row if header else [f"column_{place}" for place in range(1, len(row) + 1)])
            place = next((place for place, field in enumerate(row) if "\0" in field), None)
            if place is not None:
                column = f", column {names[place]!r}" if place < len(names) else ""
                return f"{f'row {number:,}' if number else 'the header'}{column}: holds a NUL character; remove it"
    return None


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
