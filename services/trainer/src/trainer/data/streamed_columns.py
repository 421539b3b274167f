"""The columns of a table that is read in passes: those that are held in memory, and the types of the others.

Held are the columns that are no features: the target, and what decides how the rows are split or weighted. This is the
first step of reading such a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from trainer.data.columns import common_type, text_columns
from trainer.data.csv_faults import check_repeated_header
from trainer.data.row_chunks.opening import open_files
from trainer.data.table_reader import no_rows
from trainer.data.target_column import check_target
from trainer.data.typed_chunks import TypedChunks, found_types, read_columns
from trainer.data.unified_tables import check_columns_of_model, check_same_columns
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from trainer.config.values import ColumnType
    from trainer.data.reading import Reading
    from trainer.data.table_files import TableFiles


def held_tables(
    tables: Sequence[TableFiles], how: Reading, warnings: list[str]
) -> tuple[list[pd.DataFrame], list[list[str]]]:
    """Return the columns of two tables that are held, and the names of all columns of each.

    A target that is text in one of them only is read as text in both.
    """
    held = [held_table(files, how, warnings) for files in tables]
    if texts := text_columns(tables[1].place, held[0][0], held[1][0], how):
        held = [held_table(files, how, [], texts) for files in tables]
    return [table for table, _ in held], [names for _, names in held]


def held_table(
    files: TableFiles, how: Reading, warnings: list[str], texts: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns of a table that are held, and the names of all columns.

    Args:
        files: The table.
        how: How it is read.
        warnings: Takes the warnings on it.
        texts: Columns that are read as they are written, beside those that always are.

    Raises:
        InputError: There is no such column, or the file cannot be read.
    """
    source = open_files(files, how.form)
    names = source.named(warnings)
    head = pd.DataFrame(columns=names)
    check_target(head, files.place, how.target, how.form)
    how.without_dropped(head, str(files.place))
    wanted = [str(how.target), *(name for _, name in how.roles.options)]
    table = read_columns(source, wanted, [*how.texts, *texts])
    if table.empty:
        raise no_rows(files.place, how.form)
    if source.from_text and (table[how.target] == how.target).any():
        for file in files.files:
            check_repeated_header(file, how.form)
    return table, names


def streamed_types(tables: Sequence[TableFiles], how: Reading, names: Sequence[list[str]]) -> list[TypedChunks]:
    """Return the tables of a data set with the types of their features: those of a model, or as all rows decide.

    Args:
        tables: The one table, or that for training and that for testing.
        how: How they are read.
        names: The columns of each.

    Raises:
        InputError: There are no features, or not the same in both tables, or not all that a model takes; or they
            hold what no model takes.
    """
    out = {str(how.target), *how.drop, *(name for _, name in how.roles.options)}
    features, *others = ([name for name in of_one if name not in out] for of_one in names)
    source = str(tables[0].place.resolve())
    if how.column_types is not None:
        check_columns_of_model(source, features, how.column_types)
        return [TypedChunks(files, how.form, dict(how.column_types)) for files in tables]
    for other in others:
        check_same_columns(source, features, other, [files.place.name for files in tables])
    if not features:
        raise InputError(f"{tables[0].place}: has no feature columns")
    found = [found_types(open_files(files, how.form), features, how.categorical) for files in tables]
    nothing: set[ColumnType] = {"unknown"}
    types = {
        name: common_type({of_one[name] for of_one in found} - nothing, f"{source}: column {name!r}")
        for name in features
    }
    for name in how.monotone:
        if types[name] != "number":
            raise InputError(
                f"{tables[0].place}: column {name!r} is {types[name]}; --monotone takes columns of numbers"
            )
    if all(kind == "unknown" for kind in types.values()):
        raise InputError(f"{tables[0].place}: every feature value is missing")
    return [TypedChunks(files, how.form, types) for files in tables]
