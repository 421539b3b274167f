"""Reading the data: every source, and every way in which it can be wrong."""

from __future__ import annotations

import gzip
import os
import re
import shlex
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.config.csv_form import CsvForm
from trainer.config.values import ColumnType
from trainer.data import demo
from trainer.data.column_digest import table_digest
from trainer.data.four_files import PARTS
from trainer.data.row_split import stratified_split
from trainer.data.sources import load_data
from trainer.data.target_column import binary_target
from trainer.util.errors import InputError

TARGET = demo.TARGET


def refused(path: Path | None, **options: object) -> str:
    """Return the message with which the data is refused; it is one line."""
    with pytest.raises(InputError) as error:
        load_data(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# Sources --------------------------------------------------------------------------------------------------------------


def test_without_data_sessions_are_generated() -> None:
    """Without data sessions are generated and it says so."""
    made = load_data(None, seed=9)
    assert made.generated
    assert made.target == TARGET
    assert made.train.rows + made.test.rows == 12_000
    assert any("generated" in note and "seed 9" in note for note in made.warnings)


def test_empty_folder_means_generated_sessions(tmp_path: Path) -> None:
    """Folder without data means generated sessions."""
    write(tmp_path / "README.md", "put data here")
    write(tmp_path / ".gitkeep", "")
    made = load_data(tmp_path)
    assert made.generated
    assert str(tmp_path) in made.warnings[0]


def test_four_files_are_read_as_they_are(four_files: Path, table: pd.DataFrame) -> None:
    read = load_data(four_files)
    held_out = np.arange(len(table)) % 5 == 0
    assert read.target == TARGET
    assert read.test_size is None
    assert read.train.rows == (~held_out).sum()
    np.testing.assert_array_equal(read.test.target, table[TARGET][held_out])
    np.testing.assert_array_equal(read.train.features["exit_rate"], table["exit_rate"][~held_out])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_split_is_stratified_and_seeded(tmp_path: Path, table: pd.DataFrame, suffix: str) -> None:
    """Table is split in a stratified and seeded way."""
    path = tmp_path / f"shop{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    first, again, other = (load_data(path, target=TARGET, test_size=0.25, seed=seed) for seed in (1, 1, 2))
    assert first.name == "shop"
    assert first.test.rows == pytest.approx(0.25 * len(table), abs=1)
    assert first.test.target.mean() == pytest.approx(table[TARGET].mean(), abs=0.01)
    assert first.digest == again.digest
    assert first.digest != other.digest
    both = pd.concat([first.train.features, first.test.features])
    assert sorted(both["product_seconds"]) == sorted(table["product_seconds"])


def test_folder_with_one_table_is_that_table(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_parquet(tmp_path / "only.parquet")
    write(tmp_path / "README.md", "")
    assert load_data(tmp_path, target=TARGET).name == "only"


def test_real_data_is_read_as_it_is(shoppers: Path) -> None:
    read = load_data(shoppers, target="Revenue")
    assert read.train.rows + read.test.rows == 12_330
    assert read.column_types["Weekend"] == "boolean"
    assert read.columns("text") == ["Month", "VisitorType"]
    assert len(read.columns("number")) == 14
    assert read.warnings == ()


# Columns --------------------------------------------------------------------------------------------------------------


def test_columns_become_numbers_booleans_or_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "integer": [1, 2, 3, 4] * 5,
            "nullable": pd.array([1, None, 3, 4] * 5, dtype="Int64"),
            "decimal": [0.5, 1, np.nan, 2] * 5,
            "flag": [True, False, True, False] * 5,
            "gappy_flag": pd.array([True, None, False, True] * 5, dtype="boolean"),
            "text": ["a", None, "b", "a"] * 5,
            "category": pd.Categorical(["x", "y", "x", "y"] * 5),
            "numbers_as_categories": pd.Categorical([1, 2, 1, 2] * 5),
            "empty": [np.nan] * 20,
            "empty_text": pd.array([None] * 20, dtype="str"),
            "y": [0, 1] * 10,
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    read = load_data(tmp_path / "t.parquet", target="y")
    column_types = {**dict.fromkeys(frame.columns[:-1], "number"), "flag": "boolean", "gappy_flag": "boolean"}
    texts: dict[str, str] = {"text": "text", "category": "text"}
    # Nothing says what it will hold.
    assert read.column_types == {**column_types, **texts, "empty": "unknown", "empty_text": "unknown"}
    assert read.train.features["integer"].dtype == np.float64
    assert read.train.features["text"].isna().any()
    assert set(read.train.features["gappy_flag"].dropna()) == {True, False}


def test_digest_depends_on_contents_only(tmp_path: Path, table: pd.DataFrame) -> None:
    """Digest depends on contents and not on the format."""
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    changed = table.copy()
    changed.loc[5, "month"] = "Feb" if table.loc[5, "month"] != "Feb" else "Mar"
    changed.to_parquet(tmp_path / "changed.parquet")
    of_csv, of_parquet, of_changed = (
        load_data(tmp_path / name, target=TARGET) for name in ("t.csv", "t.parquet", "changed.parquet")
    )
    assert of_csv.digest == of_parquet.digest
    assert of_csv.test_digest == of_parquet.test_digest
    assert (of_changed.digest, of_changed.test_digest) != (of_csv.digest, of_csv.test_digest)
    assert len(of_csv.digest) <= 36


@pytest.mark.parametrize("gap", ["", "NA", "None"])
def test_words_for_gaps_are_gaps_in_every_format(tmp_path: Path, gap: str) -> None:
    table = pd.DataFrame({"v": [gap, "a", "b", "a"] * 10, "y": [0, 1] * 20})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    from_csv, from_parquet = (load_data(tmp_path / name, target="y") for name in ("t.csv", "t.parquet"))
    assert from_parquet.digest == from_csv.digest
    assert from_parquet.train.features["v"].isna().any()


def test_digest_equals_zeros_and_missing_values() -> None:
    """Digest takes zeros of both signs and all gaps for the same."""
    target = np.array([0, 1, 0])
    one = pd.DataFrame({"x": [0.0, np.nan, 1.0]})
    other = pd.DataFrame({"x": [-0.0, -np.nan, 1.0]})
    assert table_digest(one, target) == table_digest(other, target)


def test_column_order_may_differ(four_files: Path) -> None:
    """Column order may differ between train and test."""
    expected = load_data(four_files)
    test = pd.read_csv(four_files / "X_test.csv")
    test[test.columns[::-1]].to_csv(four_files / "X_test.csv", index=False)
    read = load_data(four_files)
    assert list(read.test.features) == list(read.train.features)
    assert read.test_digest == expected.test_digest


def test_index_columns_are_left_out_with_a_remark(four_files: Path) -> None:
    expected = load_data(four_files)
    for part in PARTS:
        pd.read_csv(four_files / f"{part}.csv").to_csv(four_files / f"{part}.csv")
    read = load_data(four_files)
    assert read.digest == expected.digest
    assert sum("index" in note for note in read.warnings) == 4


def test_target_in_another_order_is_refused(four_files: Path) -> None:
    """Target in another order than the features is refused."""
    expected = load_data(four_files)
    shuffled = {part: pd.read_csv(four_files / f"{part}.csv").sample(frac=1, random_state=1) for part in PARTS}
    for part, table in shuffled.items():
        table.to_csv(four_files / f"{part}.csv")
    assert load_data(four_files).train.target.sum() == expected.train.target.sum()
    shuffled["y_train"].sort_index().to_csv(four_files / "y_train.csv")
    assert "X_train.csv and y_train.csv hold the same index in different orders" in refused(four_files)
    # Numbered anew after shuffling, or of an index that the other has not.
    shuffled["y_train"].set_index(shuffled["y_train"].index + 7).to_csv(four_files / "y_train.csv")
    load_data(four_files)
    shuffled["y_train"].to_csv(four_files / "y_train.csv", index=False)
    load_data(four_files)


def test_digits_and_letters_are_text(four_files: Path) -> None:
    """Digits in one table and letters in the other are text."""
    for part, values in (("train", ["7", "8", "x"]), ("test", ["7", "8", "8"])):
        features = pd.read_csv(four_files / f"X_{part}.csv")
        features["code"] = [values[row % 3] for row in range(len(features))]
        features.to_csv(four_files / f"X_{part}.csv", index=False)
    read = load_data(four_files)
    assert read.column_types["code"] == "text"
    assert set(read.test.features["code"]) == {"7", "8"}
    assert set(read.train.features["code"]) == {"7", "8", "x"}


@pytest.mark.parametrize(("share", "noted"), [(30, False), (3, True), (1, True)])
def test_other_spelling_in_the_test_is_warned_of(four_files: Path, share: int, noted: bool) -> None:
    """Texts written otherwise for the test are noted."""
    path = four_files / "X_test.csv"
    features = pd.read_csv(path)
    features["month"] = features["month"].where(features.index % share != 0, features["month"].str.upper())
    features.to_csv(path, index=False)
    count, example = len(range(0, len(features), share)), features["month"].dropna().iloc[0]
    remark = (
        f"column 'month' holds texts in {count} of {len(features)} test rows that no training row has, such as"
        f" {example!r}: the model takes them for missing values; the training rows hold {example.title()!r} for"
        f" {example!r}, which differs in capital letters"
    )
    assert load_data(four_files).warnings == ((remark,) if noted else ())


@pytest.mark.parametrize("gap", [False, True])
def test_mixed_boolean_spellings_are_refused(four_files: Path, gap: bool) -> None:
    """With missing values pandas reads neither as booleans nor as numbers of whole rows."""
    for part, words in (("train", ("True", "False")), ("test", ("1", "0"))):
        features = pd.read_csv(four_files / f"X_{part}.csv")
        values = [words[row % 2] for row in range(len(features))]
        features["flag"] = [None if gap and row % 5 == 0 else value for row, value in enumerate(values)]
        features.to_csv(four_files / f"X_{part}.csv", index=False)
    assert "column 'flag' mixes boolean and number values; write it the same way" in refused(four_files)


def test_true_among_other_texts_is_text(four_files: Path) -> None:
    """True among other texts of the other file is text."""
    for part, words in (("train", ("true", "false", "unknown")), ("test", ("true", "false"))):
        features = pd.read_csv(four_files / f"X_{part}.csv")
        features["flag"] = [words[row % len(words)] for row in range(len(features))]
        features.to_csv(four_files / f"X_{part}.csv", index=False)
    read = load_data(four_files)
    assert read.column_types["flag"] == "text"
    assert set(read.test.features["flag"]) == {"true", "false"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_word_that_is_taken_for_a_gap_is_noted(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"alley": ["NA", "paved", "", "NA"] * 10, "x": range(40), "y": [0, 1] * 20})
    path = tmp_path / f"houses{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    assert load_data(path, target="y").warnings == (
        f"houses{suffix}: NA (20 times) in column alley is taken for a missing value, not for a category"
        " (--not-missing NA makes it one)",
    )


def test_decimal_target_of_parquet_is_read(tmp_path: Path) -> None:
    target = [Decimal("0.00"), Decimal("1.00")] * 10
    pd.DataFrame({"x": range(20), "y": target}).to_parquet(tmp_path / "t.parquet")
    assert load_data(tmp_path / "t.parquet", target="y").train.target.sum() == 8


def test_column_in_a_models_types(tmp_path: Path) -> None:
    """The types of a model decide, and not what this file's values look like."""
    types: dict[str, ColumnType] = {"code": "text", "flag": "boolean", "size": "number", "later": "unknown"}
    path = write(
        tmp_path / "t.csv", "later,size,flag,code,more,y\n" + "summer,1, tRUE,007,5,0\n2026-01-01, NA,,008,6,1\n" * 5
    )
    read = load_data(path, target="y", column_types=types)
    assert read.column_types == types
    whole = read.whole().features
    assert whole["code"].tolist()[:2] == ["007", "008"]
    assert whole["flag"].tolist()[0] is True
    assert whole["size"].isna().tolist()[:2] == [False, True]
    assert whole["later"].isna().all()
    assert read.warnings == ("no training row has a value in column later",)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("number", "1_000", "'1_000' is not allowed; the model takes numbers"),
        ("number", "\u0661", "the model takes numbers"),
        ("number", "True", "holds boolean values; the model takes numbers"),
        ("boolean", "1", "holds number values; the model takes true or false"),
        ("boolean", "maybe", "'maybe' is not allowed; the model takes true or false"),
    ],
)
def test_value_that_a_model_does_not_take(tmp_path: Path, kind: ColumnType, value: str, words: str) -> None:
    path = write(tmp_path / "t.csv", "a,y\n" + f"{value},0\n{value},1\n" * 5)
    assert words in refused(path, target="y", column_types={"a": kind})


def test_codes_keep_their_zeros(four_files: Path) -> None:
    """Codes keep their zeros where one table holds nothing else."""
    for part, values in (("train", ["007", "1.50", "x"]), ("test", ["007", "1.50", ""])):
        features = pd.read_csv(four_files / f"X_{part}.csv")
        features["code"] = [values[row % 3] for row in range(len(features))]
        features.to_csv(four_files / f"X_{part}.csv", index=False)
    read = load_data(four_files)
    assert set(read.test.features["code"].dropna()) == {"007", "1.50"}
    assert read.test.features["code"].isna().any()
    assert set(read.train.features["code"]) == {"007", "1.50", "x"}
    assert read.warnings == ()


def notes_on(path: Path, *values: str, rows: int = 60) -> str:
    """Return the notes on a column of texts: the numbers from 1 on as ``values`` write them, in turns."""
    lines = [f"{values[row % len(values)].format(row + 1)},{row % 2}" for row in range(rows)]
    write(path / "shop.csv", "\n".join(["v,y", *lines]))
    return "; ".join(load_data(path / "shop.csv", target="y").warnings)


@pytest.mark.parametrize(
    ("values", "example"),
    [
        (['"{},5"'], "'1,5'"),
        (['"{},000.5"'], "'1,000.5'"),
        (["{}"] * 59 + ["?"], "'?'"),
        (["1", "2", "3", "\\N"], r"'\\N'"),
        (["{}.5%"], "'1.5%'"),
        (['"${},250.00"'], "'$1,250.00'"),
        (["{}.50 €"], "'1.50 €'"),
        (["({}.5)"], "'(1.5)'"),
        (["{} 000"], "'1 000'"),
        (["{}'000"], '"1\'000"'),
    ],
    ids=[
        "decimal comma",
        "thousands",
        "question mark",
        "gap of a database",
        "percent",
        "dollars",
        "euros",
        "accountants' minus",
        "thousands apart",
        "thousands in Switzerland",
    ],
)
def test_numbers_that_are_taken_as_text_are_noted(tmp_path: Path, values: list[str], example: str) -> None:
    noted = notes_on(tmp_path, *values)
    assert f"column 'v' is taken as text, each value a category, because of values such as {example}" in noted


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (['"{},5"'], "--decimal , reads them"),
        (['"{},5"', "{}"], "--decimal , reads them"),
        (["{}.5"] * 59 + ["unknown"], "--missing unknown takes them for missing values"),
        (["{}.5"] * 58 + ["?", "-"], "--missing '-,?' takes them for missing values"),
        (['"{},000.5"', "{}.5"], "write digits alone, decimals with a point"),
        (['"{},000"', "{}"], "write thousands as digits alone; --decimal , reads them, if they are decimals"),
        (['"{},000,000"', '"{}"'], "write digits alone, decimals with a point"),
        (['"{},250"', '"0,{}"'], "--decimal , reads them"),
        (["{} 042", "{}"], "write digits alone, decimals with a point"),
        (["\u2212{}.5"], "write digits alone, decimals with a point"),
        (["{}"] * 59 + ["\uff11\uff12"], "write digits alone, decimals with a point"),
        (["\u0661{}"], "write digits alone, decimals with a point"),
    ],
    ids=[
        *("comma", "comma and whole", "word", "words", "thousands", "whole thousands", "millions", "three decimals"),
        *("apart", "minus", "wide digits", "other digits"),
    ],
)
def test_advice_on_numbers_reads_them(tmp_path: Path, values: list[str], advice: str) -> None:
    """An option is named only where it makes numbers of the column."""
    noted = notes_on(tmp_path, *values)
    assert f"({advice}" in noted
    found = re.search(r"--(decimal|missing) (.+?) (?:reads|takes)", noted)
    if found is not None:
        (word,) = shlex.split(found[2])
        form = CsvForm(decimal=word) if found[1] == "decimal" else CsvForm(missing=tuple(word.split(",")))
        dataset = load_data(tmp_path / "shop.csv", target="y", csv=form)
        assert dataset.column_types == {"v": "number"}


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-{:02}",
        "{:02}.01.2026",
        "2026-01-{:02} 10:00:00",
        '"{:02}/01/2026, 10:00"',
        "1/{}/26",
        "{}-Jan-2026",
        '"Mon, {} Jan 2026 10:00"',
        '"Jan {}, 2026"',
        "20{:02}-01",
    ],
)
def test_dates_that_are_taken_as_text_are_noted(tmp_path: Path, value: str) -> None:
    assert notes_on(tmp_path, value) == (
        "column 'v' is taken as text, each value a category, but looks like dates: later ones are unknown to the model"
        "; --time v tests on what came after"
    )


@pytest.mark.parametrize(
    "values",
    [
        ["0", "1", "2", "3+"],
        ["a{}"],
        ["v1.{}"],
        ["{}"],
        ["{0}-{0}"],
        ["{}:30"],
        ["room {}"],
        ["{}.5", " ", " NA "],
        [" TRUE", "fAlse"],
    ],
)
def test_plain_columns_get_no_warning(tmp_path: Path, values: list[str]) -> None:
    """Texts and numbers that are what they look like are not noted."""
    assert notes_on(tmp_path, *values) == ""


@pytest.mark.parametrize(("other", "example"), [("unknown", "'unknown'"), ("yes", "'yes'"), ("1", "'1'")])
def test_booleans_that_are_taken_as_text_are_noted(tmp_path: Path, other: str, example: str) -> None:
    assert notes_on(tmp_path, "TRUE", "false", other) == (
        f"column 'v' is taken as text, each value a category, because of values such as {example}"
        " beside true and false (write a missing value as nothing)"
    )


def test_two_ways_to_write_a_boolean_are_noted(tmp_path: Path) -> None:
    """A column of TRUE and 0 is none of true and false, and none of numbers."""
    assert notes_on(tmp_path, "TRUE", "0", "") == (
        "column 'v' is taken as text, each value a category, because it holds true as well as 0"
        " (write true and false the same way in all rows)"
    )


@pytest.mark.parametrize(("values", "noted"), [(1_000, ""), (1_001, "has 1,001 distinct texts: if it identifies rows")])
def test_text_that_may_identify_rows_is_noted(tmp_path: Path, values: int, noted: str) -> None:
    # Each twice: texts of which each row has its own are told however few there are.
    lines = "".join(f"visitor {number},{row}\n" for number in range(values) for row in (0, 1))
    (tmp_path / "t.csv").write_text(f"v,y\n{lines}")
    # Each repeats across the split, too, which a warning of its own says.
    warnings = [note for note in load_data(tmp_path / "t.csv", target="y").warnings if "--group" not in note]
    assert [noted in note for note in warnings] == ([True] if noted else [])


def test_column_without_a_value_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "shop.csv", "x,e,y\n" + "1,,0\n2,,1\n" * 10)
    read = load_data(tmp_path / "shop.csv", target="y")
    assert read.warnings == ("no training row has a value in column e",)


def test_empty_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "shop.csv", "x,y,\n" + "1,0,\n2,1,\n" * 10)
    read = load_data(tmp_path / "shop.csv", target="y")
    assert list(read.column_types) == ["x"]
    assert read.warnings == ("shop.csv: its column 3 has no name and no values, and is left out",)


def test_trailing_commas_and_blank_lines(tmp_path: Path) -> None:
    """Rows may end in commas and the table in blank lines."""
    write(tmp_path / "shop.csv", "y,x,z\n" + "0,1,,\n1,2,3,\n" * 10 + "\n  \n")
    assert load_data(tmp_path / "shop.csv", target="y").train.rows == 16


@pytest.mark.parametrize("comma", ["", ",,,"])
def test_index_written_twice_is_left_out(tmp_path: Path, table: pd.DataFrame, comma: str) -> None:
    """What was written with an index twice is read without."""
    expected = table
    for _ in range(2):
        table.to_csv(tmp_path / "shop.csv")
        table = pd.read_csv(tmp_path / "shop.csv")
    write(tmp_path / "shop.csv", "\n".join(line + comma for line in (tmp_path / "shop.csv").read_text().splitlines()))
    expected.to_csv(tmp_path / "plain.csv", index=False)
    read = load_data(tmp_path / "shop.csv", target=TARGET)
    assert read.digest == load_data(tmp_path / "plain.csv", target=TARGET).digest
    assert read.warnings[0] == "shop.csv: its unnamed first 2 columns are taken for indexes and left out"
    assert read.warnings[1:] == (
        ("shop.csv: 3 of its columns have no name and no values, and are left out",) if comma else ()
    )


def test_column_without_a_name_is_refused(tmp_path: Path) -> None:
    # Its invented name would be in the model, and in no file that is scored.
    write(tmp_path / "shop.csv", "x,,y\n" + "1,5,0\n2,6,1\n" * 10)
    with pytest.raises(InputError, match="column 2 has no name; name it, or remove it"):
        load_data(tmp_path / "shop.csv", target="y")


def test_parquet_index_is_warned_of(tmp_path: Path) -> None:
    """Index that pandas wrote into parquet is noted."""
    table = pd.DataFrame({"x": np.arange(20.0), "y": [0, 1] * 10, "customer": range(20)}).set_index("customer")
    table.to_parquet(tmp_path / "shop.parquet")
    read = load_data(tmp_path / "shop.parquet", target="y")
    assert read.warnings == ("shop.parquet: its pandas index customer is left out",)


# The target -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [[0, 1], [0.0, 1.0], [-0.0, 1.0], ["false", "true"], ["False", "TRUE"], ["No", "yes"], ["n", "Y"], [" f ", "t"]],
)
def test_target_may_be_written_in_many_ways(values: list[object]) -> None:
    found = binary_target(pd.Series([values[0], values[1], values[0]]), "y")
    assert found.tolist() == [0, 1, 0]
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ([1, 2], "2"),
        ([1.0, 2.0], "2"),
        ([1, -1], "-1"),
        (["good", "bad"], "bad"),
        ([" Good", "BAD "], "Bad"),
        ([1, 0], "0"),
        (["yes", "no"], "no"),
        ([Decimal("1.00"), Decimal("2.00")], "2"),
    ],
)
def test_target_of_any_two_values(values: list[object], positive: str) -> None:
    found = binary_target(pd.Series([values[0], values[1], values[0]]), "y", positive)
    assert found.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("values", "positive"), [(["a", "b"], "c"), (["a", "b", "c"], "a")])
def test_positive_value_that_is_none_of_two(values: list[str], positive: str) -> None:
    with pytest.raises(InputError, match=f"--positive {positive} must be one of the target's two values; found"):
        binary_target(pd.Series(values), "file: y", positive)


def test_models_data_is_read_with_its_positive_value(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "x,y\n" + "1,good\n2,bad\n" * 10)
    read = load_data(path, target="y", positive="bad")
    assert read.positive == "bad"
    assert read.train.target[read.train.features["x"] == 2].all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 2], ["two classes", "0, 1, 2"]),
        (["a", "b"], ["two classes", "a, b", "name the positive one with --positive"]),
        ([1, 2], ["two classes", "1, 2"]),
        ([0.5, 1.5], ["two classes"]),
        (["yes", "yes"], ["one class", "yes"]),
        ([0, 0], ["one class"]),
        ([0, None, 1], ["missing", "row 2"]),
        (["yes", None, "no"], ["missing", "row 2"]),
    ],
)
def test_target_that_is_not_binary_is_refused(values: list[object], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        binary_target(pd.Series(values), "file: y")
    for word in ["file: y", *words]:
        assert word in str(error.value)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", ["is empty"]),
        ("t.csv", b"\n\n", ["is empty"]),
        ("t.csv", b"\x0b", ["is empty"]),
        ("t.csv", b"a,y\n", ["no rows"]),
        ("t.csv", b"a,a,y\n1,2,0\n", ["'a'", "more than once"]),
        ("t.csv", b"a;y\n1;0\n", ["semicolons"]),
        ("t.csv", b"a\ty\n1\t0\n", ["tabs"]),
        ("t.csv", b"a|y\n1|0\n", ["vertical bars"]),
        (
            "t.csv",
            b"Sales 2026\na,y\n1,0\n",
            ["its first line has 1 field, line 2 has 2", "a title, --skip-lines 1 leaves it out"],
        ),
        (
            "t.csv",
            b"# Sales, 2026\na,b,y\n1,2,0\n",
            ["2 fields, line 2 has 3", "a comment, --skip-lines 1 leaves it out"],
        ),
        ("t.csv", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe" * 50, ["not UTF-8"]),
        ("t.csv", b"a,y\n" + b"1,0\n" * 400_000 + b"1,\xff\xfe\n", ["not UTF-8 text (line 400,002); save it as UTF-8"]),
        ("t.csv.gz", gzip.compress(b"a,y\n1,\xff\xfe\n", mtime=0), ["not UTF-8 text (line 2)"]),
        ("t.csv", b"\x00\x01\x02,\x00\n1,2\n", ["not a text file"]),
        ("t.csv", b"a,y\n1,0\n1,2,3,4\n", ["row 2 has 4 fields, the header 2", "quotes"]),
        ("t.csv", b"a,y\n1,0,7\n2,1,7\n", ["row 1 has 3 fields, the header 2", "quotes"]),
        # pandas makes gaps of what is not there.
        ("t.csv", b"y,a,b\n\n" + b'0,1,"2\n3"\n1,2,3\n' * 9 + b"0,2\n", ["row 19 has 2 fields, the header 3"]),
        ("t.csv", b"y,a,b\n" + b"0,1,2\n1,2,3\n" * 9 + b"(18 rows)\n", ["row 19 has 1 field, the header 3"]),
        ("t.csv", b'a,y\n"1,0\n', ["t.csv"]),
        ("t.csv", b"y\n0\n1\n0\n1\n0\n1\n", ["no feature columns"]),
        ("t.csv", b"a,y\n1,0\n2,1\n3,0\n", ["too few rows"]),
        ("t.csv", b"a,y\n,0\n,1\n,0\n,1\n,0\n,1\n", ["every feature value is missing"]),
        ("t.csv.gz", b"not gzip", ["cannot be read"]),
        ("t.parquet", b"", ["is empty"]),
        ("t.parquet", b"PAR1 nonsense PAR1", ["cannot be read"]),
        ("t.xlsx", b"PK", ["unknown kind of file", ".csv"]),
    ],
)
def test_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name, target="y")
    assert str(tmp_path / name) in message
    for word in words:
        assert word in message


def test_split_with_too_few_rows_is_refused(tmp_path: Path) -> None:
    """Split that leaves too few rows to train on is refused."""
    write(tmp_path / "t.csv", "a,y\n" + "1,0\n2,0\n3,1\n" * 3)
    message = refused(tmp_path / "t.csv", target="y", test_size=0.7)
    assert "the training part (--test-size 0.7): too few rows to split: 3 rows, of class 1 only 1" in message


def test_truncated_gzip_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    packed = gzip.compress(table.to_csv(index=False).encode())
    (tmp_path / "t.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert "cannot be read" in refused(tmp_path / "t.csv.gz", target=TARGET)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Shop.csv", "shop.csv"),
        ("shpo.csv", "shop.csv"),
        ("shop.cvs", "shop.csv"),
        ("jun", "june"),
        ("july.csv", None),
    ],
)
def test_missing_file_names_the_nearest(tmp_path: Path, name: str, meant: str | None) -> None:
    """Of tables and folders; what is only a little like it is no help."""
    for beside in ("shop.csv", "june.csv", "shpo.txt"):
        (tmp_path / beside).touch()
    (tmp_path / "june").mkdir()
    said = refused(tmp_path / name, target="y")
    assert said.partition("; did you mean ")[2] == (f"'{tmp_path / meant}'? (--data)" if meant else "")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.csv", target="y")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,y\n1,0\n")
    path.chmod(0)
    assert "permission denied" in refused(path, target="y")


def test_table_without_a_named_target_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b,Revenue\n1,2,0\n")
    message = refused(path)
    assert "--target" in message
    assert "a, b, Revenue" in message


def test_missing_target_names_the_nearest(tmp_path: Path) -> None:
    """Missing target is answered with the nearest column."""
    path = write(tmp_path / "t.csv", "a,b,Revenue\n1,2,0\n")
    assert "did you mean 'Revenue'" in refused(path, target="revenue")
    assert "its columns are a, b, Revenue" in refused(path, target="xyz")


def test_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", "")
    message = refused(tmp_path)
    assert "notes.txt" in message
    assert "X_train.csv" in message


def test_table_in_several_files_is_read(tmp_path: Path, table: pd.DataFrame) -> None:
    """What Spark leaves beside its parts is no part."""
    for name in ("part-00000-a.parquet", "part-00001-a.parquet"):
        table.to_parquet(tmp_path / name)
    for name in ("_SUCCESS", ".part-00000-a.parquet.crc", "_metadata.parquet"):
        (tmp_path / name).touch()
    assert load_data(tmp_path, target=TARGET).rows == 2 * len(table)


def test_folder_with_several_kinds_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.parquet"):
        write(tmp_path / name, "")
    assert "2 tables are of several kinds (a.csv is CSV, b.parquet is Parquet)" in refused(tmp_path, target="y")


def drop_y_test(folder: Path) -> None:
    (folder / "y_test.csv").unlink()


def rename_column(folder: Path) -> None:
    table = pd.read_csv(folder / "X_test.csv")
    table.rename(columns={"month": "moon"}).to_csv(folder / "X_test.csv", index=False)


def shorten_y(folder: Path) -> None:
    pd.read_csv(folder / "y_train.csv").iloc[:-3].to_csv(folder / "y_train.csv", index=False)


def widen_y(folder: Path) -> None:
    pd.read_csv(folder / "y_train.csv").assign(other=1).to_csv(folder / "y_train.csv", index=False)


def rename_y(folder: Path) -> None:
    pd.read_csv(folder / "y_test.csv").set_axis(["buys"], axis=1).to_csv(folder / "y_test.csv", index=False)


def leak(folder: Path) -> None:
    for part in ("train", "test"):
        pd.read_csv(folder / f"X_{part}.csv").assign(purchase=1).to_csv(folder / f"X_{part}.csv", index=False)


def one_class(folder: Path) -> None:
    pd.read_csv(folder / "y_test.csv").assign(purchase=0).to_csv(folder / "y_test.csv", index=False)


def boolean_as_number(folder: Path) -> None:
    pd.read_csv(folder / "X_test.csv").assign(weekend=0.5).to_csv(folder / "X_test.csv", index=False)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop_y_test, ["y_test.csv missing"]),
        (rename_column, ["different columns", "month only in X_train", "moon only in X_test"]),
        (shorten_y, ["480 rows", "477"]),
        (widen_y, ["must have one column", "purchase, other"]),
        (rename_y, ["'purchase'", "'buys'"]),
        (leak, ["'purchase' as a feature"]),
        (one_class, ["y_test.csv", "one class"]),
        (boolean_as_number, ["'weekend'", "boolean and number"]),
    ],
)
def test_four_files_that_do_not_fit_are_refused(
    four_files: Path, spoil: Callable[[Path], None], words: list[str]
) -> None:
    spoil(four_files)
    message = refused(four_files)
    for word in words:
        assert word in message


def test_four_files_of_another_target_are_refused(four_files: Path) -> None:
    """Four files with another target named are refused."""
    assert "'Revenue'" in refused(four_files, target="Revenue")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (pd.date_range("2026-01-01", periods=20), "datetime64"),
        ([[1, 2]] * 20, "ndarray"),
        ([b"raw"] * 20, "bytes"),
    ],
)
def test_column_of_another_kind_is_refused_by_name(tmp_path: Path, values: object, what: str) -> None:
    pd.DataFrame({"strange": values, "y": [0, 1] * 10}).to_parquet(tmp_path / "t.parquet")
    message = refused(tmp_path / "t.parquet", target="y")
    assert "'strange'" in message
    assert what in message


def test_split_keeps_both_classes_on_both_sides() -> None:
    target = np.array([0] * 40 + [1] * 2)
    stay, out = stratified_split(target, 0.01, seed=0)
    assert set(target[stay]) == set(target[out]) == {0, 1}
    assert sorted([*stay, *out]) == list(range(42))
