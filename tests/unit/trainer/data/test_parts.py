"""A table in parts, a folder of them or a pattern, is the table that one file with all their rows would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.data import demo
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.util.errors import InputError

TARGET = demo.TARGET
SUFFIXES = [".csv", ".csv.gz", ".tsv", ".parquet"]


def write(table: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


def in_parts(table: pd.DataFrame, folder: Path, suffix: str, count: int = 4) -> Path:
    """Write a table in parts, the last one first: only their names say their order."""
    bounds = np.linspace(0, len(table), count + 1).astype(int)
    for number in reversed(range(count)):
        write(table.iloc[bounds[number] : bounds[number + 1]], folder / f"part-{number:05d}{suffix}")
    return folder


def assert_same(one: Dataset, other: Dataset) -> None:
    assert (one.digest, one.test_digest) == (other.digest, other.test_digest)
    assert one.column_types == other.column_types
    for mine, theirs in ((one.train, other.train), (one.test, other.test)):
        pd.testing.assert_frame_equal(mine.features, theirs.features, check_exact=True)
        np.testing.assert_array_equal(mine.target, theirs.target)


def refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as error:
        load_data(path, target=TARGET, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def hard(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose parts pandas reads otherwise than the whole: whole numbers, gaps and words come late."""
    rows = len(table)
    return table.assign(
        late=[*range(rows // 2), *(row + 0.1 for row in range(rows // 2, rows))],
        large=[2**53 + 1 + row for row in range(rows - 1)] + [0.5],
        gap=np.array([*[None] * (rows - 3), "x", "y", "x"], dtype=object),
        code=np.array([*["a"] * 3, *[None] * (rows - 3)], dtype=object),
        truth=np.array([None, *([True, False] * rows)[: rows - 1]], dtype=object),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folder_of_parts_equals_one_file(tmp_path: Path, hard: pd.DataFrame, suffix: str) -> None:
    if suffix == ".parquet":
        # A Parquet column has one type.
        hard = hard.drop(columns="large")
    whole = load_data(write(hard, tmp_path / f"whole{suffix}"), target=TARGET)
    read = load_data(in_parts(hard, tmp_path / "shop", suffix), target=TARGET)
    assert_same(read, whole)
    assert read.name == "shop"
    assert read.source == str(tmp_path / "shop")
    assert any("4 files are read as one table, from part-00000" in warning for warning in read.warnings)


def test_pattern_equals_one_file(tmp_path: Path, table: pd.DataFrame) -> None:
    in_parts(table, tmp_path / "june" / "days", ".csv")
    write(table.head(3), tmp_path / "june" / "other.csv")
    whole = load_data(write(table, tmp_path / "whole.csv"), target=TARGET)
    read = load_data(tmp_path / "june" / "*" / "part-*.csv", target=TARGET)
    assert_same(read, whole)
    assert read.name == "june"


def test_pattern_is_taken_as_text_too(tmp_path: Path, table: pd.DataFrame) -> None:
    in_parts(table, tmp_path, ".parquet")
    assert load_data(f"{tmp_path}/**/*.parquet", target=TARGET).rows == len(table)


def test_name_with_brackets_is_a_file(tmp_path: Path, table: pd.DataFrame) -> None:
    path = write(table, tmp_path / "shop[1].csv")
    assert load_data(path, target=TARGET).rows == len(table)


def test_test_rows_may_be_in_parts(tmp_path: Path, table: pd.DataFrame) -> None:
    train, test = table.iloc[:400], table.iloc[400:]
    whole = load_data(write(train, tmp_path / "a.csv"), target=TARGET, test=write(test, tmp_path / "b.csv"))
    folder = in_parts(train, tmp_path / "train", ".csv")
    assert_same(load_data(folder, target=TARGET, test=in_parts(test, tmp_path / "test", ".csv")), whole)


def test_columns_may_come_in_any_order(tmp_path: Path, table: pd.DataFrame) -> None:
    folder = in_parts(table, tmp_path / "parts", ".csv", 2)
    turned = pd.read_csv(folder / "part-00001.csv")
    write(turned[turned.columns[::-1]], folder / "part-00001.csv")
    assert_same(load_data(folder, target=TARGET), load_data(write(table, tmp_path / "whole.csv"), target=TARGET))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_part_with_other_columns_is_refused(tmp_path: Path, table: pd.DataFrame, suffix: str) -> None:
    folder = in_parts(table, tmp_path, suffix)
    write(table.rename(columns={"month": "moon"}), folder / f"part-00002{suffix}")
    message = refused(folder)
    assert f"part-00002{suffix}: lacks column 'month' and has column 'moon'" in message
    assert f"part-00000{suffix} has not" in message


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_part_with_another_type_is_refused(tmp_path: Path, table: pd.DataFrame, suffix: str) -> None:
    folder = in_parts(table, tmp_path, suffix)
    write(table.assign(exit_rate="high"), folder / f"part-00003{suffix}")
    message = refused(folder)
    assert f"part-00003{suffix}: column 'exit_rate' is text, and number in part-00000{suffix}" in message
    assert ("--categorical exit_rate" in message) == (suffix == ".csv")


def test_codes_in_parts_are_text_by_option(tmp_path: Path, table: pd.DataFrame) -> None:
    coded = table.assign(code=["007"] * 300 + ["A1"] * (len(table) - 300))
    folder = in_parts(coded, tmp_path / "parts", ".csv", 2)
    whole = load_data(write(coded, tmp_path / "whole.csv"), target=TARGET, categorical=["code"])
    assert_same(load_data(folder, target=TARGET, categorical=["code"]), whole)


def test_unreadable_part_is_named(tmp_path: Path, table: pd.DataFrame) -> None:
    folder = in_parts(table, tmp_path, ".parquet")
    (folder / "part-00001.parquet").write_bytes(b"PAR1 and no more")
    assert refused(folder).startswith(f"{folder / 'part-00001.parquet'}: cannot be read")


def test_part_without_rows_is_named(tmp_path: Path, table: pd.DataFrame) -> None:
    folder = in_parts(table, tmp_path, ".csv")
    write(table.head(0), folder / "part-00001.csv")
    assert "part-00001.csv: has a header but no rows" in refused(folder)


def test_mixed_kinds_are_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    folder = in_parts(table, tmp_path, ".csv", 2)
    write(table, folder / "part-00002.parquet")
    for place in (folder, folder / "part-*"):
        found = "3 tables are of several kinds (part-00000.csv is CSV, part-00002.parquet is Parquet)"
        assert refused(place).startswith(f"{place}: its {found}")


def test_pattern_without_a_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "*.csv") == f"{tmp_path}/*.csv: finds no file (--data)"


def test_pattern_of_folders_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    in_parts(table, tmp_path / "june", ".csv")
    assert "finds folders only, such as june; add /*" in refused(tmp_path / "ju*")


def test_pattern_of_other_files_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    in_parts(table, tmp_path, ".csv")
    (tmp_path / "notes.txt").touch()
    assert "finds notes.txt, an unknown kind of file" in refused(tmp_path / "*")
