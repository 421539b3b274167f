"""Reads a table for training and one for testing that come apart, and says where they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place, table_place
from trainer.data.columns import type_in_table
from trainer.data.csv_faults import header_hint
from trainer.data.dataset import Dataset, Table
from trainer.data.file_errors import readable
from trainer.data.parts import read_files
from trainer.data.reading import Reading
from trainer.data.roles import Roles, shown_time
from trainer.data.split import split_parameters
from trainer.data.stream_choice import tell_if_too_large
from trainer.data.table_files import is_pattern, table_files
from trainer.data.target import FEWEST_PER_CLASS, check_class_sizes
from trainer.data.targets import Column, read_targets
from trainer.data.uniform import unified
from trainer.util.errors import InputError
from trainer.util.text import did_you_mean, listed


def with_test_file(data: Place | str | None, test: Place, how: Reading) -> Dataset:
    """Return the data set of two tables, the one for training and the one for testing."""
    if data is None or _holds_four(table_place(data)):
        raise InputError("--test goes with one table for training: name its file with --data")
    warnings: list[str] = []
    parts = [table_files(file, option) for file, option in ((table_place(data), "--data"), (test, "--test"))]
    files = [part.place for part in parts]
    for part in parts:
        tell_if_too_large(part)
    raw = [read_files(part, warnings, how.texts, how.form, how.drop) for part in parts]
    if codes := text_columns(test, raw[0], raw[1], how):
        raw = [read_files(part, [], {*how.texts, *codes}, how.form) for part in parts]
    for table, file in zip(raw, files, strict=True):
        check_target(table, file, how.target, how.form)
    columns = [Column(table[how.target], f"{file}: {how.target}") for table, file in zip(raw, files, strict=True)]
    read = read_targets(columns, how)
    warnings += read.warnings
    tables = []
    for table, target, file in zip(raw, read.values, files, strict=True):
        features = how.without_dropped(table, str(file)).drop(columns=str(how.target))
        tables.append(how.roles.table(features, target, str(file), how.form))
    train, tested = tables
    check_class_sizes(train.target, f"{files[0]}: {how.target}", FEWEST_PER_CLASS - 1, read.classes)
    how = read.known_to(how)
    warnings += apart_warnings(train, tested, how.roles)
    return unified(
        train,
        tested,
        how,
        name=parts[0].name,
        source=str(files[0].resolve()),
        test_source=str(test.resolve()),
        names=(files[0].name, test.name),
        warnings=warnings,
        from_text=parts[0].from_text,
        split={"test_file": test.name, **split_parameters(train, tested)},
    )


def _holds_four(data: Place) -> bool:
    with readable(data):
        return not is_pattern(data) and data.is_dir() and (data / "X_train.csv").exists()


def apart_warnings(train: Table, test: Table, roles: Roles) -> list[str]:
    """Return warnings on two tables that are not apart as the options say that rows are to be.

    Raises:
        InputError: Times are dates in one table and numbers in the other.
    """
    if train.time is not None and test.time is not None:
        if (train.time.dtype.kind == "M") != (test.time.dtype.kind == "M"):
            raise InputError(f"column {roles.time!r} (--time) holds dates in one file, and numbers in the other")
        if test.time.min() <= train.time.max():
            first, last = shown_time(test.time.min()), shown_time(train.time.max())
            return [f"column {roles.time!r}: test rows begin at {first}, before or when training rows end at {last}"]
    if train.group is not None and test.group is not None:
        both = int(np.isin(np.unique(test.group), train.group).sum())
        if both:
            return [f"column {roles.group!r}: {both:,} groups have both training and test rows"]
    return []


def text_columns(path: Place, train: pd.DataFrame, test: pd.DataFrame, how: Reading) -> list[str]:
    """Return the columns that are text in one table and something else in the other: as a number, 007 would become 7.

    They are read once more, as they are written. What is boolean in one and a number in the other stays what it is.
    """
    # What is no feature may be of any type, as dates are.
    out = {*how.drop, *(name for _, name in how.roles.options)}
    both = (name for name in train.columns if name in test.columns and name not in out)
    pairs = ((name, (train[name], test[name])) for name in both)
    types = {
        name: {type_in_table(column, f"{path}: column {name!r}") for column in columns} - {None}
        for name, columns in pairs
    }
    return [name for name, found in types.items() if "text" in found and len(found) > 1]


def check_target(table: pd.DataFrame, path: Place, target: str | None, form: CsvForm) -> None:
    """Check that a table has the target column, and that it was named."""
    if target is None:
        raise InputError(f"{path}: name its target column with --target; its columns are {listed(table.columns)}")
    if target not in table.columns:
        hint = did_you_mean(target, map(str, table.columns), f"its columns are {listed(table.columns)}")
        raise InputError(f"{path}: has no target column {target!r}; {hint}{header_hint(map(str, table.columns), form)}")
