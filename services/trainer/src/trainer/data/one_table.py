"""A single table with a target column: read as a whole or in passes, and split into training and test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trainer.config.stream import Stream
from trainer.data.dataset import Dataset
from trainer.data.parts import read_files
from trainer.data.reading import Reading
from trainer.data.row_split import split_parameters, split_rows, stratified_split
from trainer.data.stream_choice import tell_if_too_large, why_streamed
from trainer.data.table_files import TableFiles
from trainer.data.target_column import FEWEST_PER_CLASS, check_class_sizes, check_target
from trainer.data.target_readers import Column, GuessedTaskError, read_targets
from trainer.data.unified_tables import unified
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from trainer.data.typed_chunks import TypedChunks


def from_table(files: TableFiles, how: Reading, stream: Stream) -> Dataset:
    """Return the data of a single table, in one file or in parts; in passes where it would not fit into memory."""
    warnings: list[str] = []
    if (reason := why_streamed([files], stream)) is not None:
        return _streamed(files, how, reason)
    if stream == "never":
        tell_if_too_large(files)
    table = read_files(files, warnings, how.texts, how.form, how.drop)
    check_target(table, files.place, how.target, how.form)
    table = how.without_dropped(table, str(files.place))
    return split_table(
        table,
        how,
        name=files.name,
        source=str(files.place.resolve()),
        warnings=warnings,
        from_text=files.from_text,
    )


def _streamed(files: TableFiles, how: Reading, reason: str) -> Dataset:
    from trainer.data.streamed_columns import held_table, streamed_types

    warnings: list[str] = []
    table, names = held_table(files, how, warnings)
    return split_table(
        table,
        how,
        name=files.name,
        source=str(files.place.resolve()),
        warnings=[*([] if files.note is None else [files.note]), *warnings, reason],
        from_text=files.from_text,
        streamed=streamed_types([files], how, [names])[0],
    )


def split_table(
    table: pd.DataFrame,
    how: Reading,
    *,
    name: str,
    source: str,
    warnings: list[str],
    generated: bool = False,
    from_text: bool = True,
    streamed: TypedChunks | None = None,
) -> Dataset:
    """Return a table split into training and test rows.

    Args:
        table: All rows; in passes, of the target and the columns that split alone.
        how: How it is read.
        name: What the data is called.
        source: Where it is from, for messages and the run.
        warnings: What was noticed so far.
        generated: Whether the rows were made up.
        from_text: Whether it was read from files of text.
        streamed: Where the other columns come from, in passes.

    Raises:
        InputError: It cannot be trained on.
    """
    label = f"{source}: {how.target}"
    read = read_targets([Column(table[how.target], label)], how)
    (labels,) = read.values
    warnings = [*warnings, *read.warnings]
    # A model's own split was checked in training, and other data is not scored by its split: it may be small.
    to_train = how.column_types is None
    if to_train:
        try:
            check_class_sizes(labels, label, FEWEST_PER_CLASS, read.classes)
        except InputError as error:
            raise (GuessedTaskError(str(error)) if how.task is None and read.task != "binary" else error) from None
    how = read.known_to(how)
    whole = how.roles.table(table.drop(columns=str(how.target)), labels, source, how.form)
    try:
        stay, out = split_rows(whole, how.test_size, how.seed)
    except InputError:
        if to_train:
            raise
        # Of one time or one group alone, it is not what the model was trained on: no row is chosen by this split.
        stay, out = stratified_split(whole.target, how.test_size, how.seed)
    train, test = whole.take(stay), whole.take(out)
    if to_train:
        share = f" (--test-size {how.test_size:g})"
        check_class_sizes(train.target, f"{label}: the training part{share}", FEWEST_PER_CLASS - 1, read.classes)
        if read.task != "multiclass" or not (how.roles.time or how.roles.group):
            check_class_sizes(test.target, f"{label}: the test part{share}", 1, read.classes)
        elif len(np.unique(test.target)) == 1:
            # As in a test file, a class may be missing.
            raise InputError(
                f"{label}: the test part{share}: all {test.rows:,} rows are of one class"
                f" ({read.classes[int(test.target[0])]}); more are needed"
            )
    if streamed is not None:
        from trainer.data.first_pass import streamed_dataset

        return streamed_dataset(
            train,
            test,
            streamed,
            out,
            how,
            name=name,
            source=source,
            warnings=warnings,
            test_size=how.test_size,
            seed=how.seed,
            test_positions=out,
            split=split_parameters(train, test),
        )
    return unified(
        train,
        test,
        how,
        name=name,
        source=source,
        warnings=warnings,
        from_text=from_text,
        generated=generated,
        test_size=how.test_size,
        seed=how.seed,
        test_positions=out,
        split=split_parameters(train, test),
    )
