"""Hashes of rows: the same for the same row however it is written, others for other rows, and kept in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.data.dataset import Dataset
from trainer.data.row_hashes import RowHashes, hash_rows

COLUMNS = ("number", "flag", "text")


def rows(**columns: object) -> pd.DataFrame:
    base = {"number": [1.0, -0.0, np.nan], "flag": [True, False, True], "text": ["a", None, "7"]}
    return pd.DataFrame({**base, **columns})


@pytest.mark.parametrize(
    "written",
    [
        {"number": [1, 0.0, None]},
        {"number": ["1.0", "0", None]},
        {"flag": ["TRUE", "false", "True"]},
        {"flag": [1.0, 0.0, 1.0]},
        {"text": ["a", np.nan, "7.0"]},
    ],
)
def test_row_written_otherwise_is_the_same(written: dict[str, object]) -> None:
    np.testing.assert_array_equal(hash_rows(rows(**written), COLUMNS), hash_rows(rows(), COLUMNS))


def test_order_of_columns_does_not_count() -> None:
    np.testing.assert_array_equal(hash_rows(rows(), COLUMNS[::-1]), hash_rows(rows(), COLUMNS))


@pytest.mark.parametrize(
    "other",
    [
        {"number": [1.0000000000000002, 1e-300, 0.0]},
        {"flag": [False, True, None]},
        {"text": ["A", "", "8"]},
        {"number": [0.0, 1.0, 1.0], "flag": [False, True, None]},
    ],
)
def test_other_value_is_another_row(other: dict[str, object]) -> None:
    assert not (hash_rows(rows(**other), COLUMNS) == hash_rows(rows(), COLUMNS)).any()


def test_swapped_values_are_another_row() -> None:
    """Values in each others columns are another row."""
    one = pd.DataFrame({"a": [1.0], "b": [2.0]})
    other = pd.DataFrame({"a": [2.0], "b": [1.0]})
    assert hash_rows(one, ("a", "b")) != hash_rows(other, ("a", "b"))


def test_hashes_in_a_file_know_the_rows_and_no_others(dataset: Dataset, tmp_path: Path) -> None:
    kept = RowHashes.of(dataset.train.features)
    kept.save(tmp_path / "rows.npz")
    read = RowHashes.load(tmp_path / "rows.npz")
    assert read.columns == kept.columns
    known, new = read.hold(dataset.train.features), read.hold(dataset.test.features)
    assert known is not None
    assert known.all()
    assert new is not None
    assert not new.any()
    assert read.hold(dataset.test.features.drop(columns="month")) is None
    assert (tmp_path / "rows.npz").stat().st_size < 10 * dataset.train.rows


def test_single_precision_is_the_same_row() -> None:
    """A Parquet file may hold 0.1 in half the digits, and a CSV file of the same rows says 0.1."""
    rng = np.random.default_rng(2)
    exact = pd.DataFrame({"a": rng.normal(size=300).round(3), "b": rng.normal(size=300), "n": np.arange(300.0)})
    single = exact.assign(a=exact["a"].astype(np.float32).astype(np.float64))
    kept = [RowHashes.of(rows) for rows in (exact, single)]
    assert [one.single for one in kept] == [frozenset(), {"a"}]
    for one in kept:
        for rows in (exact, single):
            found = one.hold(rows)
            assert found is not None
            assert found.all()
            new = one.hold(rows.assign(a=rows["a"] + 0.5))
            assert new is not None
            assert not new.any()


def test_parts_tell_the_precision_together(tmp_path: Path) -> None:
    """A part of whole numbers says nothing of it, and one of double precision says it of all."""
    parts = [pd.DataFrame({"a": values}) for values in ([1.0, 2.0], [float(np.float32(0.1)), np.nan])]
    kept = RowHashes.of_parts(parts)
    assert kept.single == {"a"}
    kept.save(tmp_path / "rows.npz")
    assert RowHashes.load(tmp_path / "rows.npz").single == {"a"}
    both = RowHashes.of_parts([*parts, pd.DataFrame({"a": [0.3]})])
    assert both.single == frozenset()
    found = both.hold(pd.concat(parts))
    assert found is not None
    assert found.all()
