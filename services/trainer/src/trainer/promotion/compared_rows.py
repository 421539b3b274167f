"""Finds the rows that neither a version nor the champion was trained on: only these may judge and compare them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainer.config.task import Label, TaskName
from trainer.data.dataset import Dataset, Table
from trainer.data.target_column import check_class_sizes
from trainer.training.trained_on import TrainedOn
from trainer.training.unseen_rows import UnseenRows, enough, unseen_rows
from trainer.util.errors import InputError

#: Reads the data as what a model was trained on: its columns, their types, and its split. Of None, as the command says.
Load = Callable[["TrainedOn | None"], Dataset]


@dataclass(frozen=True)
class TestRows:
    """All rows of the data, those that judge the version, and those that compare it with the champion."""

    name: str
    table: Table
    version: UnseenRows
    common: UnseenRows | None = None
    #: The same rows in the champion's columns and types.
    champion_table: Table | None = None
    #: What is predicted, and its classes in the order of the table's codes.
    task: TaskName = "binary"
    classes: tuple[Label, ...] = ()

    def of(self, dataset: Dataset) -> TestRows:
        """Return the rows, with what a data set says of their target."""
        return replace(self, task=dataset.task, classes=dataset.classes)


def choose_rows(load: Load, files: Path, champion_files: Path | None, *, compare: bool, unseen: bool) -> TestRows:
    """Return the rows that may judge the version in a folder of model files.

    Args:
        load: Reads the data.
        files: The version's files.
        champion_files: The champion's, where they could be downloaded.
        compare: Whether there is a champion to be compared with.
        unseen: Whether only rows count that neither was trained on; else the test rows of the data as it is split.

    Raises:
        InputError: The data cannot be used, or its test rows as they are split are none of the version's.
    """
    if not unseen:
        trained = _trained_on(files)
        if trained is not None and trained.roles:
            used = " and ".join(f"--{role} {name}" for role, name in trained.roles.items())
            raise InputError(f"'unseen: false' does not go with a version that was trained with {used}; leave it out")
        # In its columns and types, but split as the command says.
        dataset = load(None if trained is None else replace(trained, seed=None, test_size=None))
        if dataset.task != "multiclass":
            # Of several classes, one may be missing.
            check_class_sizes(dataset.test.target, f"{dataset.name}: the test part", 1, dataset.classes)
        rows = UnseenRows(dataset.held_out, f"{dataset.test.rows:,} test rows")
        return TestRows(dataset.name, dataset.whole(), rows, rows if compare else None, dataset.whole()).of(dataset)
    trained, champion_trained = _trained_on(files), _trained_on(champion_files)
    return find_test_rows(load, trained, champion_trained, compare=compare)


def _trained_on(files: Path | None) -> TrainedOn | None:
    from mlflow.models import Model

    if files is None:
        return None
    try:
        metadata = Model.load(str(files)).metadata
    except Exception:  # noqa: BLE001 - whatever reading a folder raises that holds no model; the sandbox says so
        return None
    return TrainedOn.read(files, metadata)


def find_test_rows(load: Load, version: TrainedOn | None, champion: TrainedOn | None, *, compare: bool) -> TestRows:
    """Return the rows that may judge a version.

    Args:
        load: Reads the data.
        version: What the version was trained on; None where it does not say so.
        champion: The same of the champion.
        compare: Whether there is a champion to be compared with.

    Raises:
        InputError: The data cannot be used.
    """
    dataset = load(version)
    table = dataset.whole()
    own = unseen_rows(dataset, version, table)
    if not compare or own.problem is not None:
        return TestRows(dataset.name, table, own, own if compare else None).of(dataset)
    try:
        other_dataset = load(champion)
    except InputError as error:
        nothing = np.empty(0, dtype=np.int64)
        return TestRows(dataset.name, table, own, UnseenRows(nothing, "", problem=str(error))).of(dataset)
    other_table = other_dataset.whole()
    other = unseen_rows(other_dataset, champion, other_table)
    if other.problem is not None:
        return TestRows(dataset.name, table, own, other).of(dataset)
    both = np.intersect1d(own.positions, other.positions, assume_unique=True)
    common = UnseenRows(both, own.detail, own.tested)
    if len(both) < len(own.positions):
        common = enough(UnseenRows(both, f"on {len(both):,} rows that neither was trained on"), table, dataset.classes)
    return TestRows(dataset.name, table, own, common, other_table).of(dataset)
