"""Columns of every kind: the fast way of scoring for each mix, empty ones, unseen categories, and those only copied."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from trainer.config.csv_form import CsvForm
from trainer.data.sources import load_data
from trainer.scoring.loaded_model import LoadedModel, load_model
from trainer.scoring.predict import PredictRequest, predict_file, predict_with
from trainer.util.errors import InputError

from .scoring_files import Saved, save, score

NUMBERS = np.random.default_rng(0).normal(size=400)
TABLE = pd.DataFrame(
    {
        "number": NUMBERS.round(3),
        "word": np.where(NUMBERS > 0.2, "high", "low"),
        "flag": NUMBERS > 0.1,
        "promo": [None] * len(NUMBERS),
        "y": (NUMBERS > 0).astype(int),
    }
)
#: What columns a model takes.
MIXES = ["number", "number word", "number flag", "word", "flag", "number word flag promo", "number promo"]


def model_of(tmp_path: Path, table: pd.DataFrame) -> Saved:
    path = tmp_path / "train.csv"
    table.to_csv(path, index=False)
    return save(load_data(path, target="y"), tmp_path / "model")


@pytest.mark.parametrize("mix", MIXES)
def test_own_models_are_scored_the_fast_way(tmp_path: Path, mix: str, capsys: pytest.CaptureFixture[str]) -> None:
    saved = model_of(tmp_path, TABLE[[*mix.split(), "y"]])
    TABLE[mix.split()].to_csv(tmp_path / "new.csv", index=False)
    done = predict_file(PredictRequest(str(saved.folder), tmp_path / "new.csv", tmp_path / "out.parquet", jobs=2))
    assert done.scorer == "trees"
    assert "slower" not in capsys.readouterr().err
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert scored["probability"].tolist() == saved.expected(TABLE[mix.split()])[0]


def test_slower_way_is_not_taken_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = model_of(tmp_path, TABLE[["number", "word", "y"]])
    loaded = load_model(saved.folder, "model")
    # As a model that another version of the trainer has built.
    loaded.model.estimator_.estimator.steps[0] = ("recode", loaded.model.estimator_.estimator.steps[0][1])
    TABLE[["number", "word"]].to_csv(tmp_path / "new.csv", index=False)
    request = PredictRequest(str(saved.folder), tmp_path / "new.csv", tmp_path / "out.csv")
    assert predict_with(request, LoadedModel(**vars(loaded))).scorer == "predict_proba"
    assert "is scored by scikit-learn, which is slower: it is built in another way" in capsys.readouterr().err


@pytest.mark.slow
def test_wide_table_is_read_in_chunks_of_many_rows(tmp_path: Path) -> None:
    from trainer.data.row_chunks.opening import open_source

    rows, columns = 300, 2_000
    wide = pd.DataFrame(np.ones((rows, columns)), columns=[f"c{place}" for place in range(columns)])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    wide.to_parquet(tmp_path / "wide.parquet")
    for name in ("wide.csv", "wide.parquet"):
        chunks = list(open_source(tmp_path / name, CsvForm()).chunks((), [str(column) for column in wide]))
        assert [chunk.num_rows for chunk in chunks] == [rows]


# A column without a value in training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def promo_model(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a model of a number and a column that was empty in training."""
    return model_of(tmp_path_factory.mktemp("promo"), TABLE[["number", "promo", "y"]])


@pytest.mark.parametrize(
    "later",
    [
        pa.array([None] * 400, pa.null()),
        pa.array(["SUMMER"] * 400),
        pa.array([5] * 400),
        pa.array([True, None] * 200),
        pa.array([datetime.date(2026, 5, 1)] * 400),
        pa.array([[1, 2]] * 400),
    ],
    ids=["nothing", "texts", "numbers", "booleans", "dates", "lists"],
)
def test_empty_column_may_be_filled_later(
    promo_model: Saved, tmp_path: Path, later: pa.Array, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it holds then, the model makes no use of it, as a file, as CSV, and as a table in Python."""
    saved = promo_model
    assert saved.column_types == {"number": "number", "promo": "unknown"}
    table = pa.table({"promo": later, "number": TABLE["number"].to_numpy()})
    parquet.write_table(table, tmp_path / "new.parquet")
    expected = saved.expected(TABLE[["number", "promo"]])[0]
    for name in ("new.parquet", "new.csv"):
        if name == "new.csv":
            table.to_pandas().to_csv(tmp_path / name, index=False)
        assert score(saved, tmp_path / name, tmp_path / "out.parquet")["probability"].tolist() == expected
        assert "no training row had a value in column promo: the model makes no use of it" in capsys.readouterr().err
    loaded = mlflow.pyfunc.load_model(str(saved.folder))
    if not pa.types.is_list(later.type):
        assert loaded.predict(table.to_pandas()).tolist() == saved.expected(TABLE[["number", "promo"]])[1]


# Unseen categories ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_of_word(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    """Return a function that trains on a table whose texts are a word and "other"; once for each word."""

    @cache
    def of(word: str) -> Saved:
        return model_of(tmp_path_factory.mktemp("word"), table_of(word))

    return of


def table_of(word: str) -> pd.DataFrame:
    return TABLE[["number", "word", "y"]].assign(word=np.where(TABLE["number"] > 0, word, "other"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("known", "written", "cause"),
    [
        ("Straße", "straße", "capital letters"),
        ("blue", " blue", "white space"),
        ("caf\u00e9", "cafe\u0301", "its Unicode form"),
        ("New York", "new  york", "capital letters and white space"),
        ("A-1", "A\u20131", "signs or accents"),
        ("it's", "it\u2019s", "signs or accents"),
        ("blue", "blue\u200b", "signs or accents"),
        ("blue", '"blue"', "signs or accents"),
        ("caf\u00e9", "Cafe", "signs or accents"),
        ("7b 1", "7b 1", ""),
        ("+", "-", ""),
        ("green", "cyan", ""),
    ],
)
@pytest.mark.parametrize("share", [0.03, 0.3])
def test_unseen_categories_are_told(
    model_of_word: Callable[[str], Saved],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    known: str,
    written: str,
    cause: str,
    share: float,
) -> None:
    table, saved = table_of(known), model_of_word(known)
    new = table.assign(word=np.where(np.arange(len(table)) < share * len(table), written, known))
    new[["number", "word"]].to_csv(tmp_path / "new.csv", index=False)
    score(saved, tmp_path / "new.csv", tmp_path / "out.csv")
    told = capsys.readouterr().err
    assert ("column 'word' holds texts in 120 of 400 rows" in told) is (share > 0.05 and known != written)
    assert (f"which differs in {cause}" in told) is (bool(cause) and share > 0.05)


def test_whole_numbers_written_as_decimals_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = ["1", "2", "3+", "1"] * 100
    saved = model_of(tmp_path, TABLE[["number", "y"]].assign(code=codes))
    new = TABLE[["number"]].assign(code=["1.0", "2.0", "3+", "1.0"] * 100)
    new.to_csv(tmp_path / "new.csv", index=False)
    score(saved, tmp_path / "new.csv", tmp_path / "out.csv")
    assert "the training rows hold '1' for '1.0', which differs in how the number is written" in capsys.readouterr().err


# Columns that are only copied -----------------------------------------------------------------------------------------

MOMENT = datetime.datetime(2026, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
ROWS = len(TABLE)
COPIED: dict[str, tuple[pa.Array, str | None]] = {
    "text": (pa.array(["a"] * ROWS), "a"),
    "text view": (pa.array(["a"] * ROWS, pa.string_view()), "a"),
    "large text": (pa.array(["a"] * ROWS, pa.large_string()), "a"),
    "text with quotes": (pa.array(['a "b", c\nd'] * ROWS), 'a "b", c\nd'),
    "dictionary": (pa.array(["a"] * ROWS).dictionary_encode(), "a"),
    "dictionary of decimals": (
        pa.DictionaryArray.from_arrays(pa.array([0] * ROWS), pa.array([Decimal("1.5")])),
        "1.5",
    ),
    "decimal": (pa.array([Decimal("1.50")] * ROWS), "1.50"),
    "large decimal": (pa.array([Decimal("1.5")] * ROWS, pa.decimal256(50, 2)), "1.50"),
    "half float": (pa.array(np.ones(ROWS, "f2")), "1"),
    "unsigned": (pa.array([2**64 - 1] * ROWS, pa.uint64()), str(2**64 - 1)),
    "boolean": (pa.array([True] * ROWS), "true"),
    "date": (pa.array([MOMENT.date()] * ROWS), "2026-05-06"),
    "time": (pa.array([MOMENT.time()] * ROWS, pa.time64("us")), "07:08:09.000000"),
    "duration": (pa.array([datetime.timedelta(seconds=5)] * ROWS), "5000000"),
    "moment": (pa.array([MOMENT] * ROWS, pa.timestamp("s", "Europe/Berlin")), "2026-05-06 09:08:09.000+0200"),
    "moment in no zone": (pa.array([MOMENT] * ROWS, pa.timestamp("us", "Nowhere/Land")), None),
    "nothing": (pa.nulls(ROWS), ""),
    "bytes": (pa.array([b"a"] * ROWS), None),
    "bytes view": (pa.array([b"a"] * ROWS, pa.binary_view()), None),
    "fixed bytes": (pa.array([b"ab"] * ROWS, pa.binary(2)), None),
    "dictionary of bytes": (pa.array([b"a"] * ROWS).dictionary_encode(), None),
    "list": (pa.array([[1, 2]] * ROWS), None),
    "list view": (pa.array([[1]] * ROWS, pa.list_view(pa.int64())), None),
    "structure": (pa.array([{"a": 1}] * ROWS), None),
    "map": (pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())), None),
}


@pytest.fixture(scope="module")
def numbers_model(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a model of one number."""
    return model_of(tmp_path_factory.mktemp("numbers"), TABLE[["number", "y"]])


@pytest.mark.slow
@pytest.mark.parametrize("name", COPIED)
def test_column_of_any_type_is_copied_or_refused(numbers_model: Saved, tmp_path: Path, name: str) -> None:
    """Into CSV where that can hold it, and else a line names column and type; into Parquet always."""
    column, expected = COPIED[name]
    parquet.write_table(pa.table({"number": TABLE["number"].to_numpy(), "it": column}), tmp_path / "new.parquet")

    def scored(out: str) -> Any:
        options: dict[str, Any] = {"keep": True} if out == "kept.parquet" else {"ids": ("it",)}
        request = PredictRequest(str(numbers_model.folder), tmp_path / "new.parquet", tmp_path / out, **options)
        return predict_file(request)

    for out in ("out.csv", "out.csv.gz"):
        if expected is None:
            with pytest.raises(InputError, match=r"CSV cannot hold column 'it' of type .*; write .parquet"):
                scored(out)
        else:
            scored(out)
            read = pd.read_csv(tmp_path / out, dtype="str", keep_default_na=False)
            assert read["it"].unique().tolist() == [expected]
    for out in ("out.parquet", "kept.parquet"):
        scored(out)
        assert parquet.read_table(tmp_path / out).num_rows == ROWS


def test_result_says_what_scored_it(numbers_model: Saved, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trainer.cli.main import main

    TABLE[["number"]].to_csv(tmp_path / "new.csv", index=False)
    arguments = ("--model", numbers_model.folder, "--data", tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    with pytest.raises(SystemExit):
        main(["predict", *map(str, arguments), "--json"])
    assert json.loads(capsys.readouterr().out)["scorer"] == "trees"
