"""Reads a training table and a test table, in memory or in passes, and says in what they do not fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from trainer.config.stream import Stream
from trainer.data.buckets import Place, table_place
from trainer.data.column_roles import ColumnRoles, shown_time
from trainer.data.columns import text_columns
from trainer.data.dataset import Dataset, Table
from trainer.data.file_errors import readable
from trainer.data.parts import read_files
from trainer.data.reading import Reading
from trainer.data.row_split import split_parameters
from trainer.data.stream_choice import tell_if_too_large, why_streamed
from trainer.data.table_files import TableFiles, is_pattern, table_files
from trainer.data.target_column import FEWEST_PER_CLASS, check_class_sizes, check_target
from trainer.data.target_readers import Column, read_targets
from trainer.data.unified_tables import unified
from trainer.util.errors import InputError


def with_test_file(data: Place | str | None, test: Place, how: Reading, stream: Stream) -> Dataset:
    """Return the data set of two tables, for training and for testing; in passes where memory would not hold them."""
    if data is None or _holds_four(table_place(data)):
        raise InputError("--test goes with one table for training: name its file with --data")
    warnings: list[str] = []
    parts = [table_files(file, option) for file, option in ((table_place(data), "--data"), (test, "--test"))]
    files = [part.place for part in parts]
    streamed = None
    if (reason := why_streamed(parts, stream)) is not None:
        from trainer.data.streamed_columns import held_tables, streamed_types

        raw, names = held_tables(parts, how, warnings)
        warnings += [*(part.note for part in parts if part.note is not None), reason]
        streamed = streamed_types(parts, how, names)
    else:
        raw = _held(parts, how, warnings)
    columns = [Column(table[how.target], f"{file}: {how.target}") for table, file in zip(raw, files, strict=True)]
    read = read_targets(columns, how)
    warnings += read.warnings
    tables = []
    for table, target, file in zip(raw, read.values, files, strict=True):
        features = table if streamed is not None else how.without_dropped(table, str(file))
        tables.append(how.roles.table(features.drop(columns=str(how.target)), target, str(file), how.form))
    train, tested = tables
    check_class_sizes(train.target, f"{files[0]}: {how.target}", FEWEST_PER_CLASS - 1, read.classes)
    how = read.known_to(how)
    warnings += apart_warnings(train, tested, how.roles)
    what: dict[str, Any] = {
        "name": parts[0].name,
        "source": str(files[0].resolve()),
        "test_source": str(test.resolve()),
        "split": {"test_file": test.name, **split_parameters(train, tested)},
    }
    if streamed is not None:
        from trainer.data.first_pass import streamed_pair

        return streamed_pair(tables, streamed, how, warnings=warnings, **what)
    names_of = (files[0].name, test.name)
    return unified(train, tested, how, names=names_of, warnings=warnings, from_text=parts[0].from_text, **what)


def _held(parts: Sequence[TableFiles], how: Reading, warnings: list[str]) -> list[pd.DataFrame]:
    """Return both tables, whole."""
    for part in parts:
        tell_if_too_large(part)
    raw = [read_files(part, warnings, how.texts, how.form, how.drop) for part in parts]
    if codes := text_columns(parts[1].place, raw[0], raw[1], how):
        raw = [read_files(part, [], {*how.texts, *codes}, how.form) for part in parts]
    for table, part in zip(raw, parts, strict=True):
        check_target(table, part.place, how.target, how.form)
    return raw


def _holds_four(data: Place) -> bool:
    with readable(data):
        return not is_pattern(data) and data.is_dir() and (data / "X_train.csv").exists()


def apart_warnings(train: Table, test: Table, roles: ColumnRoles) -> list[str]:
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
