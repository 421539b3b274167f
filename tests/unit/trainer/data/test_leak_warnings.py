"""Features that give the target away, each with the option that leaves it out; and that option."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.data import first_pass
from trainer.data.leak_warnings import leak_warning
from trainer.data.sources import load_data
from trainer.util.errors import InputError

ROWS = 400
RNG = np.random.default_rng(3)
TARGET = np.sort(RNG.integers(0, 2, ROWS))
NOISE = RNG.normal(size=ROWS)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.arange(ROWS) + 10_000.0, "numbers the rows: leave it out (--drop it)"),
        (RNG.permutation(ROWS).astype(float), "numbers the rows"),
        (np.cumsum(RNG.integers(1, 900, ROWS)).astype(float), "numbers the rows"),
        ([f"Mr {place}" for place in range(ROWS)], "has another text in each row"),
        (TARGET.astype(float), "is a copy of the target"),
        (np.where(TARGET == 1, "no", "yes"), "is a copy of the target"),
        (TARGET == 0, "is a copy of the target"),
        (TARGET + 0.1 * NOISE, "nearly decides the target by itself (ROC AUC 1.000)"),
        (-TARGET - 0.3 * NOISE, "nearly decides the target by itself (ROC AUC 0.99"),
        (np.where(TARGET == 1, NOISE, np.nan), "nearly decides"),
        (np.where(np.arange(ROWS) % 8 == 0, np.nan, TARGET), "is a copy of the target"),
        ([f"Mr {max(place, 20)}" for place in range(ROWS)], "has another text in nearly each row: leave it out"),
        ([None if place % 5 == 0 else f"Mr {place}" for place in range(ROWS)], "another text in nearly each row"),
    ],
    ids=[
        "running number",
        "shuffled number",
        "number with holes",
        "name",
        "copy",
        "copy in words",
        "opposite",
        "late",
        "late and falling",
        "known of one class",
        "copy with gaps",
        "name that some share",
        "name with gaps",
    ],
)
def test_feature_that_gives_the_target_away(values: object, words: str) -> None:
    column = pd.Series(values, dtype="str" if isinstance(values, list) else None)
    found = leak_warning("it", column, TARGET)
    assert found is not None
    assert words in found
    assert "--drop it" in found


@pytest.mark.parametrize(
    "values",
    [
        NOISE,
        TARGET + NOISE,
        np.round(NOISE * 1e6),
        RNG.permutation(np.repeat(np.arange(ROWS / 4), 4)),
        np.where(NOISE > 0, "a", "b"),
        [f"code {place // 3}" for place in range(ROWS)],
        [np.nan] * ROWS,
        np.where(np.arange(ROWS) % 8 == 0, TARGET, np.nan),
    ],
    ids=["noise", "good feature", "amounts", "groups", "words", "codes", "empty", "known of few"],
)
def test_feature_that_gives_nothing_away(values: object) -> None:
    assert leak_warning("it", pd.Series(values), TARGET) is None


def table(path: Path) -> Path:
    frame = pd.DataFrame({"id": np.arange(ROWS), "zip, code": RNG.integers(1, 5, ROWS), "x": NOISE, "y": TARGET})
    frame.to_csv(path / "t.csv", index=False)
    return path / "t.csv"


def test_running_number_is_told_and_dropped(tmp_path: Path) -> None:
    path = table(tmp_path)
    assert load_data(path, target="y").warnings == ("column 'id' numbers the rows: leave it out (--drop id)",)
    dropped = load_data(path, target="y", drop=["id"])
    assert list(dropped.column_types) == ["zip, code", "x"]
    assert dropped.warnings == ()


def test_row_numbers_of_some_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In passes, a part of the rows is looked at: numbers of all rows have holes there, as amounts may have."""
    monkeypatch.setattr(first_pass, "_LOOKED_AT", 60)
    ids, amounts = RNG.permutation(ROWS), RNG.permutation(20 * ROWS)[:ROWS]
    pd.DataFrame({"id": ids, "paid": amounts, "x": NOISE, "y": TARGET}).to_csv(tmp_path / "t.csv", index=False)
    read = load_data(tmp_path / "t.csv", target="y", stream="always")
    told = [warning for warning in read.warnings if "numbers the rows" in warning]
    assert told == ["column 'id' numbers the rows: leave it out (--drop id)"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_whole_numbers_as_categories(tmp_path: Path, suffix: str) -> None:
    path = table(tmp_path)
    if suffix == "parquet":
        pd.read_csv(path).to_parquet(tmp_path / "t.parquet")
        path = tmp_path / "t.parquet"
    read = load_data(path, target="y", drop=["id"], categorical=["zip, code"])
    assert read.column_types == {"zip, code": "text", "x": "number"}
    assert set(read.train.features["zip, code"]) == {"1", "2", "3", "4"}
    assert read.digest != load_data(path, target="y", drop=["id"]).digest


@pytest.mark.parametrize(
    ("codes", "told"),
    [(["1.0", "2.0", ""], True), (["1", "2", ""], False), (["1.0", "2", ""], False), (["01.5", "2.0", ""], False)],
)
def test_whole_numbers_with_a_point_are_told(tmp_path: Path, codes: list[str], told: bool) -> None:
    """As pandas writes whole numbers beside missing values: a request's 1 would be a category that no row had."""
    frame = pd.DataFrame({"code": codes * 40, "x": NOISE[:120], "y": [0, 1] * 60})
    frame.to_csv(tmp_path / "t.csv", index=False)
    warnings = load_data(tmp_path / "t.csv", target="y", categorical=["code"]).warnings
    assert any("such as '1.0': as numbers, in Parquet files" in warning for warning in warnings) is told


def test_four_files_are_read_without_what_is_dropped(four_files: Path) -> None:
    read = load_data(four_files, drop=["month", "device"], categorical=["region"])
    assert not {"month", "device"} & set(read.column_types)
    assert read.column_types["region"] == "text"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": ["idd"]}, "has no column 'idd' (--drop); did you mean 'id'?"),
        ({"categorical": ["zip"]}, "has no column 'zip' (--categorical)"),
        ({"drop": ["y"]}, "--drop: 'y' is the target"),
        ({"drop": ["x"], "categorical": ["x"]}, "named by both"),
    ],
)
def test_column_that_cannot_be_dropped(tmp_path: Path, options: dict[str, list[str]], words: str) -> None:
    with pytest.raises(InputError) as refused:
        load_data(table(tmp_path), target="y", **options)  # type: ignore[arg-type]
    assert words in str(refused.value)
