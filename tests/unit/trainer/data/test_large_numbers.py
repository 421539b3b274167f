"""Whole numbers beyond 2**53, which no decimal holds: identifiers, categories and times keep all their digits."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from trainer.config.stream import Stream
from trainer.data.dataset import Dataset
from trainer.data.row_hashes import hash_values
from trainer.data.sources import load_data
from trainer.util.errors import InputError

FIRST = 2**53
STREAMS: tuple[Stream, ...] = ("never", "always")
ROWS = 120
#: Neighbours, of which pairs share a decimal; in each kind of table.
IDS = [FIRST + row // 3 for row in range(ROWS)]


def write(folder: Path, kind: str, ids: Any) -> Path:
    target, x = [row // 2 % 2 for row in range(ROWS)], [float(row % 7) for row in range(ROWS)]
    path = folder / f"t.{kind}"
    if kind == "parquet":
        held = pa.uint64() if any(value is not None and value >= 2**63 for value in ids) else pa.int64()
        parquet.write_table(pa.table({"id": pa.array(ids, held), "x": x, "y": target}), path)
    else:
        rows = zip(("" if one is None else one for one in ids), x, target, strict=True)
        path.write_text("id,x,y\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    return path


def read(path: Path, **options: Any) -> list[Dataset]:
    return [load_data(path, target="y", stream=stream, **options) for stream in STREAMS]


@pytest.mark.parametrize("first", [FIRST, 2**63 - 20, 2**64 - ROWS], ids=["2**53", "2**63", "2**64"])
def test_neighbours_are_groups_of_their_own(tmp_path: Path, first: int) -> None:
    """In memory and in passes, from a text file and from a typed one."""
    ids = [first + row // 3 for row in range(ROWS)]
    found = [dataset for kind in ("csv", "parquet") for dataset in read(write(tmp_path, kind, ids), group="id")]
    for dataset in found:
        assert dataset.split == {"groups_train": 32, "groups_test": 8}
        assert dataset.train.group is not None
        assert np.unique(dataset.train.group, return_counts=True)[1].tolist() == [3] * 32
    assert len({dataset.digest for dataset in found}) == 1


def test_groups_of_any_length(tmp_path: Path) -> None:
    """Longer than any type of whole numbers; leading zeros and a point change nothing."""
    long = [10**60 + row // 3 for row in range(ROWS)]
    for dataset in read(write(tmp_path, "csv", long), group="id"):
        assert dataset.split == {"groups_train": 32, "groups_test": 8}
    spelt = pd.Series(
        ["9007199254740993", "+09007199254740993.0", "9007199254740992", "9007199254740992.0", "9" * 5_000]
    )
    assert len(set(hash_values(spelt))) == 3
    assert hash_values(spelt)[2] == hash_values(pd.Series([float(FIRST)]))[0]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_group_is_one_line(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, [None, *IDS[1:]])
    for stream in STREAMS:
        with pytest.raises(InputError, match=r"column 'id' \(--group\): 1 of 120 values are missing"):
            load_data(path, target="y", stream=stream, group="id")


@pytest.mark.parametrize("first", [FIRST, 2**63 - 20, -(2**63) + 1], ids=["2**53", "2**63", "-2**63"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_neighbours_are_times_of_their_own(tmp_path: Path, kind: str, first: int) -> None:
    """As nanoseconds since 1970 are."""
    ids = [first + row for row in range(ROWS)]
    for dataset in read(write(tmp_path, kind, ids), time="id"):
        assert dataset.split == {
            "train_first_time": str(first),
            "train_last_time": str(first + 95),
            "test_first_time": str(first + 96),
            "test_last_time": str(first + 119),
        }


def test_decimals_are_times_of_their_own(tmp_path: Path) -> None:
    """A typed file may hold whole numbers as decimals, in which databases write their identifiers."""
    times = pa.array([Decimal(FIRST + row) for row in range(ROWS)], pa.decimal128(38))
    parquet.write_table(pa.table({"t": times, "x": range(ROWS), "y": [0, 1] * 60}), tmp_path / "t.parquet")
    for dataset in read(tmp_path / "t.parquet", time="t"):
        assert dataset.split["test_first_time"] == str(FIRST + 96)


@pytest.mark.parametrize("gap", [False, True], ids=["full", "gaps"])
def test_neighbours_are_categories_of_their_own(tmp_path: Path, gap: bool) -> None:
    """Beside missing values too, where pandas would make decimals of a typed column."""
    ids = [None if gap and row % 10 == 0 else one for row, one in enumerate(IDS)]
    found = [d for kind in ("csv", "parquet") for d in read(write(tmp_path, kind, ids), categorical=["id"])]
    expected = {str(one) for one in ids if one is not None}
    for dataset in found:
        assert dataset.column_types["id"] == "text"
        if dataset.train.held:
            assert set(dataset.whole().features["id"].dropna()) == expected
        else:
            parts = [part["id"] for table in (dataset.train, dataset.test) for part in table.parts()]
            assert set(pd.concat(parts).dropna()) == expected
    assert len({(dataset.digest, dataset.test_digest) for dataset in found}) == 1


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_neighbours_are_classes_of_their_own(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, [FIRST + row % 4 for row in range(ROWS)])
    for stream in STREAMS:
        dataset = load_data(path, target="id", task="multiclass", stream=stream)
        assert dataset.classes == (FIRST, FIRST + 1, FIRST + 2, FIRST + 3)


def test_dates_beside_numbers_are_one_line(tmp_path: Path) -> None:
    """Of a table for training and one for testing, one has dates and the other numbers."""
    train = write(tmp_path, "parquet", IDS)
    test = tmp_path / "test.parquet"
    pd.read_parquet(train).assign(id=pd.date_range("2026-01-01", periods=ROWS)).to_parquet(test)
    assert load_data(test, target="y", test=test, time="id").split["test_first_time"] == "2026-01-01"
    with pytest.raises(InputError, match=r"column 'id' \(--time\) holds dates in one file, and numbers in the other"):
        load_data(train, target="y", test=test, time="id")
