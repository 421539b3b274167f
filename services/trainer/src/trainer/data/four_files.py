"""A folder with the training and the test rows in files of their own, features and targets apart."""

from __future__ import annotations

from dataclasses import replace

from trainer.data.buckets import Place
from trainer.data.columns import text_columns
from trainer.data.dataset import Dataset
from trainer.data.reading import Reading
from trainer.data.table_reader import read_column, read_table
from trainer.data.target_column import FEWEST_PER_CLASS, check_class_sizes
from trainer.data.target_readers import Column, read_targets
from trainer.data.two_tables import apart_warnings
from trainer.data.unified_tables import unified
from trainer.util.errors import InputError

#: The files, each as .csv.
PARTS = ("X_train", "X_test", "y_train", "y_test")


def from_four(path: Place, how: Reading) -> Dataset:
    """Return the data of a folder with the four files."""
    warnings: list[str] = []
    files = [path / "X_train.csv", path / "X_test.csv"]
    x_train, x_test = (read_table(file, warnings, how.texts, how.form, unused=how.drop) for file in files)
    if codes := text_columns(path, x_train, x_test, how):
        x_train, x_test = (read_table(file, [], {*how.texts, *codes}, how.form) for file in files)
    y_train, y_test = (read_column(path / f"{part}.csv", warnings, how.form) for part in ("y_train", "y_test"))
    name = str(y_train.name)
    if y_test.name != y_train.name:
        raise InputError(f"{path}: y_train.csv holds {name!r} but y_test.csv holds {str(y_test.name)!r}")
    if how.target is not None and how.target != name:
        raise InputError(f"{path}: y_train.csv holds {name!r}, not the target {how.target!r} (--target)")
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if len(x) != len(y):
            raise InputError(f"{path}: X_{part}.csv has {len(x)} rows but y_{part}.csv has {len(y)}")
        # One of them may have been numbered anew, or have no index; the same numbers in another order are other rows.
        written = x.index.name is not None and y.index.name is not None
        if written and not x.index.equals(y.index) and x.index.sort_values().equals(y.index.sort_values()):
            raise InputError(
                f"{path}: X_{part}.csv and y_{part}.csv hold the same index in different orders; sort them alike"
            )
        if name in x.columns:
            raise InputError(f"{path / f'X_{part}.csv'}: holds the target {name!r} as a feature; remove it")
    columns = [Column(y, f"{path / f'y_{part}.csv'}: {name}") for part, y in (("train", y_train), ("test", y_test))]
    read = read_targets(columns, how)
    targets = read.values
    warnings += read.warnings
    check_class_sizes(targets[0], f"{path / 'y_train.csv'}: {name}", FEWEST_PER_CLASS - 1, read.classes)
    how = replace(read.known_to(how), target=name)
    train, test = (
        how.roles.table(how.without_dropped(x, file), target, file, how.form)
        for x, target, file in zip((x_train, x_test), targets, map(str, files), strict=True)
    )
    warnings += apart_warnings(train, test, how.roles)
    return unified(train, test, how, name=path.resolve().name, source=str(path.resolve()), warnings=warnings)
