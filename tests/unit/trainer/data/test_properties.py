"""Whatever a file holds, the loaders return a sound data set or one line that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.sweeps.variants import load_variants
from trainer.util.errors import InputError

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

cells = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=True, allow_infinity=True, width=32).map(str),
    st.sampled_from(["", "NA", "true", "FALSE", "yes", "no", "0", "1", '"', "a,b", "é", "2026-01-01"]),
    st.text(max_size=6),
)


def is_sound(made: Dataset) -> None:
    for table in (made.train, made.test):
        assert list(table.features.columns) == list(made.column_types)
        assert len(table.features) == table.rows > 0
        assert set(np.unique(table.target)) == {0, 1}
    for name, kind in made.column_types.items():
        assert (made.train.features[name].dtype == np.float64) == (kind == "number")


def load(path: Path) -> None:
    message = None
    try:
        is_sound(load_data(path, target="y"))
    except InputError as error:
        message = str(error)
    assert message is None or (str(path) in message and "\n" not in message)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_as_csv(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    load(tmp_path / "t.csv")


@pytest.mark.slow
@QUICK
@given(st.lists(st.lists(cells, max_size=4).map(",".join), max_size=14).map("\n".join))
def test_any_lines_as_csv(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n" + content, encoding="utf-8", errors="surrogateescape")
    load(tmp_path / "t.csv")


@QUICK
@given(st.binary(max_size=120))
def test_any_bytes_as_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + content + b"PAR1")
    load(tmp_path / "t.parquet")


columns = st.sampled_from(
    [
        lambda n, rng: rng.normal(size=n),
        lambda n, rng: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
        lambda n, rng: rng.integers(0, 5, n),
        lambda n, rng: rng.random(n) < 0.5,
        lambda n, rng: pd.array(np.where(rng.random(n) < 0.5, "a", "b"), dtype="str"),
        lambda n, rng: pd.array([None if gap else "x" for gap in rng.random(n) < 0.4], dtype="str"),
        lambda n, _rng: np.full(n, np.nan),
        lambda n, rng: np.where(rng.random(n) < 0.1, np.inf, 1.0),
        lambda n, rng: pd.array([None if gap else True for gap in rng.random(n) < 0.4], dtype="boolean"),
    ]
)


@pytest.mark.slow
@QUICK
@given(
    st.lists(columns, min_size=1, max_size=5),
    st.integers(6, 40),
    st.integers(0, 1000),
)
def test_any_sound_columns_are_loaded(tmp_path: Path, makers: list[Any], rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"c{index}": make(rows, rng) for index, make in enumerate(makers)})
    frame["y"] = np.arange(rows) % 2
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    if not frame.drop(columns="y").notna().any().any():
        with pytest.raises(InputError):
            load_data(path, target="y")
        return
    try:
        made = load_data(path, target="y")
    except InputError as error:
        if "every feature value is missing" in str(error):  # those that are there fell into the test part
            return
        raise
    is_sound(made)
    assert made.train.rows + made.test.rows == rows


@pytest.mark.slow
@QUICK
@given(st.one_of(st.text(max_size=80), st.lists(st.dictionaries(st.text(max_size=8), cells), max_size=3).map(repr)))
def test_any_text_as_variants(tmp_path: Path, content: str) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    message = None
    try:
        assert load_variants(path, {})
    except InputError as error:
        message = str(error)
    assert message is None or (str(path) in message and "\n" not in message)
