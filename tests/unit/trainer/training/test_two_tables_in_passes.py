"""Two tables that are read in passes, for training and for testing, give what they give in memory, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.data import demo
from trainer.data.row_chunks import size
from trainer.data.sources import load_data
from trainer.util.errors import InputError

from .test_fit_in_passes import TARGET, assert_same, both

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Sessions with gaps, codes, days and visitors; the last third is tested on."""
    table = demo.generate_sessions(1_200, seed=4)
    rng = np.random.default_rng(0)
    table["city"] = pd.Series(rng.integers(0, 90, len(table))).map("city {}".format)
    table["member"] = pd.Series(rng.random(len(table)) < 0.5).astype(object)
    for name in ("city", "exit_rate", "member"):
        table.loc[rng.random(len(table)) < 0.05, name] = None
    table["amount"] = rng.random(len(table)) + 0.5
    table["day"] = (pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(table)) // 20, unit="D")).astype(str)
    table["visitor"] = rng.integers(0, 300, len(table))
    table["label"] = np.array(["low", "mid", "high"])[rng.integers(0, 3, len(table))]
    return table


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tables read in many chunks."""
    monkeypatch.setattr(size, "BLOCK", 5_000)


def in_files(rows: pd.DataFrame, folder: Path, kind: str = "csv") -> tuple[Path, Path]:
    """Write the rows as a table for training, and as parts for testing."""
    train, test = folder / f"train.{kind}", folder / "test"
    test.mkdir()
    pieces = [
        (rows.iloc[:800], train),
        (rows.iloc[800:1_000], test / f"1.{kind}"),
        (rows.iloc[1_000:], test / f"2.{kind}"),
    ]
    for piece, path in pieces:
        if kind == "parquet":
            piece.to_parquet(path, index=False)
        else:
            piece.to_csv(path, index=False)
    return train, test


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("csv", {"weight": "amount", "time": "day"}),
        ("parquet", {"drop": ["day", "label"], "group": "visitor"}),
        ("csv", {"target": "label", "drop": ["day"], "categorical": ["visitor"]}),
        ("parquet", {"target": "amount", "drop": ["day"]}),
    ],
    ids=str,
)
def test_model_and_metrics_are_the_same(rows: pd.DataFrame, tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    """And so are digests, splits and warnings, of which each names what is in both tables."""
    train, test = in_files(rows, tmp_path, kind)
    held, streamed = both(train, test=test, **options)
    assert_same(held, streamed)
    assert not streamed.test.held
    assert (held.split, held.source, held.test_source, held.test_size) == (
        streamed.split,
        streamed.source,
        streamed.test_source,
        None,
    )
    (line,) = (line for line in streamed.warnings if "in passes" in line)
    assert line == f"{train} and {test}: are read in passes, and not held in memory (--stream always)"
    assert sorted(set(streamed.warnings) - {line}) == sorted(set(held.warnings))


def test_what_looks_wrong_is_told_alike(rows: pd.DataFrame, tmp_path: Path) -> None:
    """Texts that no training row has, test rows that are training rows, and one group on both sides."""
    rows = rows.drop(columns=["day", "label", "amount"])
    rows.loc[800:900, "city"] = "CITY 1"
    rows.iloc[1_000:1_100] = rows.iloc[:100].to_numpy()
    train, test = in_files(rows, tmp_path)
    held, streamed = both(train, test=test, group="visitor")
    for said in ("that no training row has", "are training rows too", "groups have both training and test rows"):
        assert [said in str(one.warnings) for one in (held, streamed)] == [True, True]
    assert set(held.warnings) <= set(streamed.warnings)


def test_codes_of_digits_are_text_in_both(rows: pd.DataFrame, tmp_path: Path) -> None:
    """What is text in one table is text in the other: 007 is not 7, in a feature and in the target."""
    codes = pd.Series(np.arange(1_200) % 7).map("00{}".format)
    rows = rows.assign(code=codes.where(rows.index < 800, "x7"), kind=(codes.str[-1].astype(int) % 3).map("0{}".format))
    rows.loc[:799:9, "code"] = "007"
    rows.loc[:799:5, "kind"] = "A1"
    rows.loc[800::5, "kind"] = "00"
    train, test = in_files(rows.drop(columns=["day", "label"]), tmp_path)
    held, streamed = both(train, test=test, target="kind", categorical=["visitor"])
    assert held.classes == ("00", "01", "02", "A1")
    assert streamed.column_types["code"] == "text"
    assert_same(held, streamed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda test: test.drop(columns="city"), "train and test have different columns: city only in train.csv"),
        (lambda test: test.assign(member=7.5), "column 'member' mixes boolean and number values"),
        (lambda test: test.rename(columns={TARGET: "bought"}), f"has no target column '{TARGET}'"),
    ],
)
def test_unlike_tables_are_one_line(rows: pd.DataFrame, tmp_path: Path, change: Any, said: str) -> None:
    rows.iloc[:800].to_csv(tmp_path / "train.csv", index=False)
    change(rows.iloc[800:]).to_csv(tmp_path / "test.csv", index=False)
    refused = []
    for stream in ("never", "always"):
        with pytest.raises(InputError) as error:
            load_data(tmp_path / "train.csv", target=TARGET, test=tmp_path / "test.csv", stream=stream)
        refused.append(str(error.value))
    assert said in refused[0]
    assert refused[0] == refused[1]


def test_size_of_both_decides(rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has to hold both tables: where it holds only one of them, both are read in passes."""
    train, test = in_files(rows, tmp_path)
    assert load_data(train, target=TARGET, test=test, stream="auto").train.held
    monkeypatch.setattr("trainer.data.stream_choice.memory", lambda: train.stat().st_size * 8)
    streamed = load_data(train, target=TARGET, test=test, stream="auto")
    assert (streamed.train.held, streamed.test.held) == (False, False)
    assert any("are read in passes: they would take about" in line for line in streamed.warnings)
    assert load_data(train, target=TARGET, stream="auto").train.held
