"""Words such as NA that are taken for missing values: the same warning in memory and in passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from trainer.config.stream import Stream
from trainer.data.sources import load_data

ROWS = 60
STREAMS: tuple[Stream, ...] = ("never", "always")


def table() -> pd.DataFrame:
    """Return a table with such words in columns of texts, and in others."""
    return pd.DataFrame(
        {
            "alley": ["NA", "paved", "gravel", "", "NA", "paved"] * 10,
            "roof": ["None", "flat", "NA", "steep", "flat", "None"] * 10,
            "size": ["1", "2", "NA", "4", "5", "6"] * 10,
            "flag": ["true", "false", "NA", "true", "false", "true"] * 10,
            "unused": ["NA", "a", "b", "c", "d", "e"] * 10,
            "none": ["NA"] * ROWS,
            "x": range(ROWS),
            "y": [0, 1] * 30,
        }
    )


def write(frame: pd.DataFrame, folder: Path, kind: str) -> Path:
    if kind == "parts":
        for number in range(5):
            frame.iloc[number * 12 : (number + 1) * 12].to_csv(folder / f"part-{number}.csv", index=False)
        return folder / "part-*.csv"
    if kind == "parquet":
        # A typed file has a column of texts where it says so.
        frame.assign(size=pd.to_numeric(frame["size"], "coerce"), flag=frame["flag"] == "true").to_parquet(
            folder / "t.parquet"
        )
    elif kind == "dictionary":
        frame[["alley", "roof", "unused", "x", "y"]].astype({"alley": "category"}).to_parquet(folder / "t.parquet")
    else:
        frame.to_csv(folder / f"t.{kind}", index=False, sep="\t" if kind == "tsv" else ",")
    return folder / ("t.parquet" if kind == "dictionary" else f"t.{kind}")


def told(path: Path, **options: Any) -> list[list[str]]:
    """Return the warnings on words, in memory and in passes."""
    options = {"target": "y", "drop": ["unused"], **options}
    read = [load_data(path, stream=stream, **options) for stream in STREAMS]
    assert read[0].train.held
    assert not read[1].train.held
    return [[one for one in dataset.warnings if "missing value" in one or "such lines" in one] for dataset in read]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "dictionary"])
def test_words_are_told_in_passes_too(tmp_path: Path, kind: str) -> None:
    held, streamed = told(write(table(), tmp_path, kind))
    assert held == streamed
    assert held == [
        f"{held[0].partition(':')[0]}: NA (30 times), None (20 times) in columns alley, roof is taken for a missing"
        " value, not for a category (--not-missing NA makes it one)"
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_column_of_such_words_alone_is_unknown(tmp_path: Path, kind: str) -> None:
    """In a typed file too, where it is one of texts."""
    path = write(table(), tmp_path, kind)
    for stream in STREAMS:
        assert load_data(path, target="y", stream=stream).column_types["none"] == "unknown"


def test_words_of_each_part_are_told(tmp_path: Path) -> None:
    """A line for each file, three at most."""
    held, streamed = told(write(table(), tmp_path, "parts"))
    assert held == streamed
    assert len(held) == 4
    assert held[0].startswith("part-0.csv: NA (6 times)")
    assert "2 more such lines" in held[3]


def test_words_that_are_named_are_not_told(tmp_path: Path) -> None:
    from trainer.config.csv_form import CsvForm

    path = write(table(), tmp_path, "csv")
    held, streamed = told(path, csv=CsvForm(not_missing=("NA", "None")))
    assert held == streamed == []
    held, streamed = told(path, csv=CsvForm(missing=("paved", "NA")))
    assert held == streamed
    assert len(held) == 1


def test_words_of_dropped_columns_are_not_told(tmp_path: Path) -> None:
    path = write(table()[["unused", "x", "y"]], tmp_path, "csv")
    assert told(path) == [[], []]
    held, streamed = told(path, drop=[])
    assert held == streamed
    assert "NA (10 times) in column unused" in held[0]
