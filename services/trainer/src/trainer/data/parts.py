"""Reads the parts of a table and joins them: the result is that of one file with the rows of all parts, in their order.

Parts have the same columns, in any order, and write each of them alike. A part in which a column has no value fits all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place
from trainer.data.columns import type_in_table
from trainer.data.table_files import TableFiles, is_parquet
from trainer.data.table_reader import read_table
from trainer.util.errors import InputError
from trainer.util.text import listed

#: So many warnings on parts are shown; those on further parts are counted.
_SHOWN = 3


def read_files(
    files: TableFiles, warnings: list[str], texts: Iterable[str], form: CsvForm, unused: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the table that files hold together.

    Args:
        files: The files.
        warnings: Takes the warnings on them.
        texts: The columns that are read as they are written.
        form: How CSV files are written.
        unused: The columns that are left out later on: nothing is said of what is in them.

    Raises:
        InputError: A file cannot be read, or parts differ in a column; the message names part and column.
    """
    texts = list(texts)
    if len(files.files) == 1:
        return read_table(files.files[0], warnings, texts, form, unused=unused)
    if files.note is not None:
        warnings.append(files.note)
    found: list[str] = []
    tables = [read_table(file, found, texts, form, unused=unused) for file in files.files]
    warnings += few_warnings(files, found)
    for file, table in zip(files.files[1:], tables[1:], strict=True):
        check_columns(file, list(table.columns), files.files[0], list(tables[0].columns))
    columns = list(tables[0].columns)
    types = {name: _common_type(files.files, [table[name] for table in tables], name) for name in columns}
    for place, file in enumerate(files.files):
        if not is_parquet(file) and (odd := _read_otherwise(tables, place, types)):
            numbers = [name for name in odd if types[name] == "number"]
            again = [*texts, *(name for name in odd if types[name] == "text")]
            tables[place] = read_table(file, [], again, form, numbers)
    return pd.DataFrame({name: pd.concat([table[name] for table in tables], ignore_index=True) for name in columns})


def few_warnings(files: TableFiles, warnings: list[str]) -> list[str]:
    """Return the first warnings on a table's files, and how many more there are."""
    more = [f"{files.place}: {len(warnings) - _SHOWN:,} more such lines on its files are left out"]
    return warnings if len(warnings) <= _SHOWN else warnings[:_SHOWN] + more


def check_columns(part: Place, names: Sequence[str], first: Place, expected: Sequence[str]) -> None:
    """Refuse a part that has other columns than the first one."""
    lacks = [name for name in expected if name not in names]
    more = [name for name in names if name not in expected]
    if lacks or more:
        found = [f"lacks column {listed(map(repr, lacks))}"] if lacks else []
        found += [f"has column {listed(map(repr, more))}, which {first.name} has not"] if more else []
        raise InputError(
            f"{part}: {' and '.join(found)}{f', which {first.name} has' if lacks and not more else ''}; the parts of a"
            " table have the same columns (name one file, or the parts by a pattern)"
        )


def check_type(part: Place, name: str, found: str, first: Place, expected: str, *, from_text: bool) -> None:
    """Refuse a part in which a column is of another type than in the first one that has a value in it."""
    if found == expected:
        return
    remedy = f"; --categorical {name} takes each value as text" if from_text and "text" in (found, expected) else ""
    raise InputError(
        f"{part}: column {name!r} is {found}, and {expected} in {first.name}; write it the same way in all"
        f" parts{remedy}"
    )


def _common_type(files: Sequence[Place], columns: Sequence[pd.Series], name: str) -> str | None:
    """Return the type that a column has in all parts; None where it has no value in any."""
    first: tuple[Place, str] | None = None
    for file, column in zip(files, columns, strict=True):
        if (found := _type(column)) is None:
            continue
        if first is None:
            first = file, found
        check_type(file, name, found, *first, from_text=not is_parquet(file))
    return None if first is None else first[1]


def _type(column: pd.Series) -> str | None:
    try:
        return type_in_table(column, "")
    except InputError:
        # Dates are none of a feature's types, and may be what rows are split by.
        return str(column.dtype)


def _read_otherwise(tables: Sequence[pd.DataFrame], place: int, types: dict[str, str | None]) -> list[str]:
    """Return the columns of a part that would have been read otherwise in one file with the other parts.

    Whole numbers are, where another part has decimals; and what stands for a missing value, where another has texts.
    """
    own = tables[place]
    whole = [name for name, kind in types.items() if kind == "number" and own[name].dtype.kind in "iu"]
    empty = [name for name, kind in types.items() if kind == "text" and own[name].dtype.kind == "f"]
    return empty + [name for name in whole if any(table[name].dtype.kind not in "iu" for table in tables)]
