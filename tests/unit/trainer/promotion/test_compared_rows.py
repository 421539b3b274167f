"""Which rows may judge a version: those that neither it nor the champion was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.data.dataset import Dataset
from trainer.data.row_hashes import RowHashes
from trainer.data.sources import load_data
from trainer.promotion.compared_rows import Load, choose_rows, find_test_rows
from trainer.training.trained_on import TrainedOn
from trainer.util.errors import InputError

from ..scoring.scoring_files import save

Write = Callable[[pd.DataFrame], Load]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a table, and returns what loads it."""

    def as_file(table: pd.DataFrame) -> Load:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        table.to_csv(path, index=False)

        def load(trained: TrainedOn | None) -> Dataset:
            seed, size = (trained.seed, trained.test_size) if trained is not None else (None, None)
            types = trained.column_types if trained is not None else None
            return load_data(path, target="purchase", seed=seed or 42, test_size=size or 0.2, column_types=types)

        return load

    return as_file


def trained_on(dataset: Dataset) -> TrainedOn:
    rows = RowHashes.of(dataset.train.features)
    split = (dataset.seed, dataset.test_size)
    return TrainedOn(dataset.digest, dataset.test_digest, *split, rows, dataset.column_types)


def split_of(load: Load, seed: int, size: float) -> Dataset:
    """Return the data as it is split by a seed and a test size."""
    types = load(None).column_types
    return load(TrainedOn("", "", seed, size, None, types))


def seen(table: pd.DataFrame, dataset: Dataset) -> np.ndarray:
    """Tell which rows of a table are training rows of a data set, by comparing them value by value."""
    known = {str(row) for row in dataset.train.features.itertuples(index=False)}
    return np.array([str(row) in known for row in table.itertuples(index=False)])


@pytest.mark.parametrize(("seed", "size"), [(7, 0.2), (42, 0.4), (42, 0.2)])
def test_split_is_that_of_the_versions_run(table: pd.DataFrame, write: Write, seed: int, size: float) -> None:
    """Not that of the command, by which the version would be scored on rows that it was trained on."""
    load = write(table)
    dataset = split_of(load, seed, size)
    found = find_test_rows(load, trained_on(dataset), None, compare=False)
    assert found.version.tested
    pd.testing.assert_frame_equal(found.table.take(found.version.positions).features, dataset.test.features)
    assert f"seed {seed}, test size {size}" in found.version.detail


def test_rows_that_are_new_to_both(table: pd.DataFrame, write: Write) -> None:
    load = write(table)
    version, champion = split_of(load, 7, 0.4), split_of(load, 8, 0.4)
    found = find_test_rows(load, trained_on(version), trained_on(champion), compare=True)
    assert found.common is not None
    assert found.common.problem is None
    assert 0 < len(found.common.positions) < version.test.rows
    rows = found.table.take(found.common.positions).features
    assert not seen(rows, version).any()
    assert not seen(rows, champion).any()


def test_too_few_rows_that_are_new_to_both(table: pd.DataFrame, write: Write) -> None:
    load = write(table)
    found = find_test_rows(load, trained_on(split_of(load, 7, 0.1)), trained_on(split_of(load, 8, 0.1)), compare=True)
    assert found.version.problem is None
    assert found.common is not None
    assert "at least 10 of each class" in str(found.common.problem)


@pytest.mark.parametrize("change", ["shuffled", "grown", "shrunk"])
def test_training_rows_in_other_data_are_left_out(table: pd.DataFrame, write: Write, change: str) -> None:
    trained = split_of(write(table), 7, 0.4)
    more = pd.concat([table, table.iloc[:50].assign(page_value=9.125)])
    other = {"shuffled": table.sample(frac=1, random_state=1), "grown": more, "shrunk": table.iloc[:450]}[change]
    found = find_test_rows(write(other), trained_on(trained), None, compare=False)
    assert not found.version.tested
    rows = found.table.take(found.version.positions).features
    assert not seen(rows, trained).any()
    assert len(rows) == (~seen(found.table.features, trained)).sum() > 0


def test_new_test_rows_beside_the_same_training_rows(four_files: Path) -> None:
    """A test file that repeats training rows does not make them unseen."""
    version = trained_on(load_data(four_files))
    for part in "Xy":
        (four_files / f"{part}_test.csv").write_text((four_files / f"{part}_train.csv").read_text())
    found = find_test_rows(lambda _trained: load_data(four_files), version, None, compare=False)
    assert "at least 10 of each class" in str(found.version.problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _trained: None, "does not say which rows"),
        (lambda trained: replace(trained, rows=None), "lists no rows"),
        (lambda trained: replace(trained, rows=RowHashes(("gone",), trained.rows.hashes)), "lacks columns"),
    ],
)
def test_what_cannot_be_shown_to_be_unseen(
    table: pd.DataFrame, write: Write, change: Callable[[TrainedOn], TrainedOn | None], problem: str
) -> None:
    load = write(table.iloc[:500])
    trained = trained_on(split_of(write(table), 7, 0.2))
    found = find_test_rows(load, change(trained), None, compare=False)
    assert problem in str(found.version.problem)
    beside = find_test_rows(load, trained, change(trained), compare=True)
    assert beside.common is not None
    assert problem in str(beside.common.problem)


def test_unseen_false_needs_the_default_split(tmp_path: Path, table: pd.DataFrame) -> None:
    """The command has no --time of its own: its test rows would be training rows of such a version."""
    table.assign(day=range(len(table))).to_csv(tmp_path / "shop.csv", index=False)
    dataset = load_data(tmp_path / "shop.csv", target="purchase", time="day")
    save(dataset, tmp_path / "model")
    with pytest.raises(InputError, match=r"'unseen: false' does not go with .* --time day; leave it out"):
        choose_rows(lambda _: dataset, tmp_path / "model", None, compare=False, unseen=False)


def test_unseen_false_needs_both_classes(tmp_path: Path, table: pd.DataFrame) -> None:
    """Its test rows are those of the data as it is split, which may be of one class."""
    path = tmp_path / "shop.csv"
    table.to_csv(path, index=False)
    dataset = load_data(path, target="purchase")
    save(dataset, tmp_path / "model")
    positive = table["purchase"].astype(int) == 1
    pd.concat([table[positive].head(1), table[~positive]]).to_csv(path, index=False)
    few = load_data(path, target="purchase", column_types=dataset.column_types)
    with pytest.raises(InputError, match=r"the test part: .* of class 1 only 0"):
        choose_rows(lambda _: few, tmp_path / "model", None, compare=False, unseen=False)
