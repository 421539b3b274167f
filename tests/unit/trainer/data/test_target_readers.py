"""Targets of every kind: which task the values ask for, how they are read, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.config.csv_form import CsvForm
from trainer.config.stream import Stream
from trainer.data.reading import Reading
from trainer.data.sources import load_data
from trainer.data.target_readers import MOST_CLASSES, Column, read_targets
from trainer.data.task_guess import FEW, guess_task
from trainer.util.errors import InputError

STREAMS: tuple[Stream, ...] = ("never", "always")


def column(values: list[Any]) -> pd.Series:
    return pd.Series(values, name="y")


def table(path: Path, target: Any, **columns: Any) -> Path:
    rows = len(target)
    numbers = np.random.default_rng(1).normal(size=rows)
    pd.DataFrame({"x": numbers, **columns, "y": target}).to_csv(path, index=False)
    return path


def read(values: list[Any], *more: list[Any], **how: Any) -> Any:
    columns = [Column(column(some), f"part {place}: y") for place, some in enumerate([values, *more])]
    return read_targets(columns, Reading(target="y", **how))


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        ([0, 1, 1], "binary", None),
        (["good", "bad"], "binary", None),
        (["Yes", "no", "y", "TRUE"], "binary", None),
        (["a", "b", "c"], "multiclass", "3 classes"),
        ([1, 2, 3], "multiclass", "3 whole numbers: the task is multiclass, each is a class (--task regression"),
        ([1.0, 2.0, 3.0], "multiclass", "3 whole numbers"),
        ([Decimal("1.00"), Decimal("2.00"), Decimal("3.00")], "multiclass", "3 whole numbers"),
        (list(range(FEW)), "multiclass", "whole numbers"),
        (list(range(FEW + 1)), "regression", "21 different numbers: the task is regression (--task)"),
        ([0.5, 1.0, 1.5], "regression", "3 different numbers: the task is regression (--task multiclass"),
        ([*map(str, np.arange(30.5)), "abc"], "regression", None),
        ([0, 1, "maybe"], "multiclass", "3 classes"),
        (["a", "a ", "b", " b", "c"], "multiclass", "3 classes (a, b, c)"),
        (["a", "a ", "b"], "binary", None),
    ],
)
def test_values_tell_the_task(values: list[Any], task: str, said: str | None) -> None:
    found, note = guess_task(column(values), "y")
    assert found == task
    assert note is None if said is None else said in str(note)


def test_classes_keep_their_names() -> None:
    """Codes follow the names' order, in all parts."""
    found = read(["b", " a", "c", "a"], ["c", "b"])
    assert (found.task, found.classes) == ("multiclass", ("a", "b", "c"))
    assert [values.tolist() for values in found.values] == [[1, 0, 2, 0], [2, 1]]


def test_classes_that_are_alike_are_told() -> None:
    """As names of columns are: most likely they were meant to be one."""
    found = read(["Basic", "basic", "Plus", "pro", "Pro", "per  day", "per day"], task="multiclass")
    assert len(found.classes) == 7
    assert found.warnings == (
        "classes 'Basic', 'basic' of target y differ in capital letters alone: each is a class of its own",
        "classes 'Pro', 'pro' of target y differ in capital letters alone: each is a class of its own",
        "classes 'per  day', 'per day' of target y differ in white space alone: each is a class of its own",
    )


def test_white_space_alone_is_no_class() -> None:
    for gap in (" ", " NA ", "\t"):
        with pytest.raises(InputError, match=r"1 of 7 values are missing \(the first in row 4\)"):
            read(["a", "b", "c", gap, "a", "b", "c"])


def test_whole_numbers_are_classes_however_written() -> None:
    found = read([10, 9, -1], [9.0, 10.0], task="multiclass")
    assert found.classes == (-1, 9, 10)
    assert [values.tolist() for values in found.values] == [[2, 1, 0], [1, 2]]


def test_models_classes_give_the_codes() -> None:
    found = read(["c", "a"], task="multiclass", classes=("a", "b", "c"))
    assert found.values[0].tolist() == [2, 0]
    assert found.classes == ("a", "b", "c")


def test_numbers_are_read_as_they_are() -> None:
    found = read(["1.5", "2e3", "-0.25"], task="regression")
    assert found.values[0].tolist() == [1.5, 2000.0, -0.25]
    assert (found.classes, found.values[0].dtype) == ((), np.float64)


@pytest.mark.parametrize("role", ["target", "weight"])
@pytest.mark.parametrize(
    ("written", "decimal", "first"),
    [
        ("{}", ".", 1001.0),
        (" {},5 ", ",", 1001.5),
        ("{}e0", ",", 1001.0),
        ("1.{}", ",", "'1.1001') (--decimal . reads it)"),
        ("{:,}", ".", "'1,001') (--decimal , reads it, unless thousands are meant: write those as digits alone)"),
        ("{:,}.5", ".", "'1,001.5')"),
        ("{:_}", ".", "'1_001')"),
        ("0x{}", ".", "'0x1001')"),
        ("\u0661{}", ".", "'\u06611001')"),
    ],
)
def test_numbers_are_those_of_features(
    written: str, decimal: str, first: float | str, role: str, tmp_path: Path
) -> None:
    """A target's and a weight's texts, too, in memory and in passes: 1.250 with a decimal comma is not 1.25."""
    rows = range(1001, 1061)
    numbers = [written.format(row) if row % 2 else str(row).replace(".", decimal) for row in rows]
    others = [f"{0.5 * (row % 7)}".replace(".", decimal) for row in rows]
    columns = {"x": others, "it": numbers} if role == "target" else {"x": others, "it": numbers, "y": [0, 1] * 30}
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False, sep=";")
    how: dict[str, Any] = {"csv": CsvForm(separator=";", decimal=decimal), "target": "y", "weight": "it"}
    if role == "target":
        how |= {"target": "it", "weight": None, "task": "regression"}
    for stream in STREAMS:
        if isinstance(first, str):
            with pytest.raises(InputError) as refused:
                load_data(tmp_path / "t.csv", stream=stream, **how)
            assert (
                f"30 of 60 {'values are no numbers' if role == 'target' else 'are none'} (the first in row 1: {first}"
                in str(refused.value)
            )
        else:
            whole = load_data(tmp_path / "t.csv", stream=stream, **how).whole()
            found = whole.target if role == "target" else whole.weight
            assert found is not None
            assert found.tolist() == [first + row - 1001 if row % 2 else float(row) for row in rows]


@pytest.mark.parametrize("written", ["{}%", "${}.50", "{:,}.5", "{:,}"])
def test_numbers_as_people_write_them_are_no_classes(written: str) -> None:
    """Of hundreds of these, nobody means to make classes: the line says how numbers are written."""
    with pytest.raises(InputError, match=r"60 of 60 values are no numbers .*(write digits alone|as digits alone)"):
        read([written.format(row) for row in range(1001, 1061)])


def test_advice_on_many_classes_can_be_taken() -> None:
    """Numbers may be predicted as such; dates and texts are none."""
    for values, advised in (
        (list(range(1000)), True),
        ([str(date) for date in pd.date_range("2020", periods=999)], False),
    ):
        with pytest.raises(InputError) as refused:
            read(values, task="multiclass")
        assert ("--task regression" in str(refused.value)) == advised


def test_labels_of_two_classes_are_kept() -> None:
    found = read(["good", "bad", "good"], positive="bad")
    assert (found.task, found.classes) == ("binary", ("good", "bad"))
    assert read([2, 1, 1], positive="2").classes == (1, 2)
    assert read([-1, 1, 1], positive="+1").classes == (-1, 1)


@pytest.mark.parametrize(
    ("parts", "how", "words"),
    [
        ([["a", "b", "c"], ["a", "d"]], {}, ["part 1: y", "class 'd' is none of the training rows'", "a, b, c"]),
        ([["a", "d"]], {"task": "multiclass", "classes": ("a", "b", "c")}, ["class 'd' is none of the model's"]),
        ([["a", None, "c"]], {}, ["part 0: y", "missing", "row 2"]),
        ([["a", "b", "a"]], {"task": "multiclass"}, ["two values, a, b", "--task binary"]),
        ([["a", "a", "a"]], {"task": "multiclass"}, ["all 3 rows are of one class (a)"]),
        ([[f"c{n}" for n in range(1000)]], {}, ["1,000 classes", f"{MOST_CLASSES} at most", "100,000 trees"]),
        ([[1.5, float("inf"), 2.5]], {}, ["1 of 3 values are infinite", "row 2"]),
        ([[1.5, None, 2.5]], {"task": "regression"}, ["missing", "row 2"]),
        ([["1.5", "abc", "2"]], {"task": "regression"}, ["1 of 3 values are no numbers", "row 2", "'abc'"]),
        ([[2.5, 2.5, 2.5]], {"task": "regression"}, ["all 3 values are 2.5"]),
        ([[1.5, -2e37, 2.5]], {}, ["1 of 3 values are beyond 1e+37", "row 2", "-2e+37", "divide them"]),
        ([[[1], [2], [1]]], {}, ["part 0: y", "holds lists or structures"]),
        ([[{"a": 1}, {"a": 2}]], {"task": "binary"}, ["part 0: y", "holds lists or structures"]),
        ([[b"a", b"b", b"c"]], {}, ["part 0: y", "holds binary values"]),
        ([[True, False, True]], {"task": "regression"}, ["bool values", "takes numbers"]),
        ([["a", "b", "c"]], {"task": "multiclass", "positive": "a"}, ["--positive", "no positive class"]),
        ([[1.5, 2.5, 3.5]], {"task": "regression", "positive": "1.5"}, ["--positive", "no positive class"]),
    ],
)
def test_what_is_refused(parts: list[list[Any]], how: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read(*parts, **how)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (1.6e9 + np.arange(50) / 2, True),
        (np.arange(1, 51) * 1e-300, True),
        (1.6e9 + np.arange(50) * 1e4, False),
        (np.arange(50) / 7, False),
    ],
)
def test_numbers_that_lightgbm_does_not_tell_apart(values: Any, told: bool) -> None:
    """It keeps a target in single precision: a moment in seconds, for one, becomes a multiple of 128."""
    warnings = read(values.tolist(), task="regression").warnings
    assert [warning for warning in warnings if "LightGBM tells" in warning] == list(warnings)
    assert bool(warnings) is told


def test_many_classes_say_what_they_cost() -> None:
    found = read([f"c{n}" for n in range(60)] * 2)
    assert "each iteration makes 60 trees" in found.warnings[1]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("word", ["NA", "", "null"])
def test_word_for_a_missing_value_is_no_class(tmp_path: Path, suffix: str, word: str) -> None:
    """Unless it is said to be one: in each kind of file, and in passes."""
    content = pd.DataFrame({"x": range(60), "y": ["a", "b", word] * 20})
    path = tmp_path / f"t.{suffix}"
    content.to_csv(path, index=False) if suffix == "csv" else content.to_parquet(path)
    for stream in STREAMS:
        with pytest.raises(InputError, match=r"y: 20 of 60 values are missing \(the first in row 3\)"):
            load_data(path, target="y", stream=stream)
        if word:
            read = load_data(path, target="y", csv=CsvForm(not_missing=(word,)), stream=stream)
            assert set(read.classes) == {"a", "b", word}


def test_class_with_one_row_is_named(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["a", "b"] * 20 + ["rare"])
    with pytest.raises(InputError, match="of class 'rare' only 1; each class needs at least 3"):
        load_data(path, target="y")


def test_each_class_is_in_both_parts(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["a"] * 90 + ["b"] * 7 + ["c"] * 3)
    data = load_data(path, target="y")
    assert np.bincount(data.train.target).tolist() == [72, 6, 2]
    assert np.bincount(data.test.target).tolist() == [18, 1, 1]


def test_numbers_are_split_at_random(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(size=100)
    data = load_data(table(tmp_path / "t.csv", values), target="y", test_size=0.3)
    assert (data.task, data.train.rows, data.test.rows) == ("regression", 70, 30)
    assert sorted([*data.train.target, *data.test.target]) == pytest.approx(sorted(values))
    assert data.digest != load_data(table(tmp_path / "u.csv", values + 1), target="y", test_size=0.3).digest


def test_generated_sessions_are_binary() -> None:
    with pytest.raises(InputError, match="the generated sessions have a binary target"):
        load_data(task="regression")


@pytest.mark.parametrize(
    ("task", "copy", "words"),
    [("multiclass", False, "accuracy 0.99"), ("multiclass", True, "is a copy of the target"),
     ("regression", False, "rank correlation 0.999"), ("regression", True, "is a copy of the target")],
)  # fmt: skip
def test_column_that_gives_the_target_away(tmp_path: Path, task: str, copy: bool, words: str) -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 4, 600) if task == "multiclass" else rng.normal(size=600)
    leak = target.copy()
    if not copy:
        leak = np.where(rng.random(600) < 0.004, 0, leak) if task == "multiclass" else leak + rng.normal(size=600) / 60
    data = load_data(table(tmp_path / "t.csv", target, leak=leak), target="y")
    assert data.task == task
    assert [words in warning for warning in data.warnings if "'leak'" in warning] == [True]


@pytest.mark.parametrize(
    ("spread", "told"), [(0.0, "accuracy 1.000"), (0.3, "accuracy 0.99"), (3.0, None)], ids=["rule", "nearly", "good"]
)
def test_number_that_is_cut_into_classes(tmp_path: Path, spread: float, told: str | None) -> None:
    """A score from which the grades were made; with gaps, which are a grade of their own."""
    rng = np.random.default_rng(3)
    score = rng.uniform(0, 100, 900)
    grade = np.digitize(score, [30, 80]).astype(str)
    score += rng.normal(size=900) * spread
    score[::9], grade[::9] = np.nan, "absent"
    data = load_data(table(tmp_path / "t.csv", grade, score=score), target="y")
    found = [warning for warning in data.warnings if "'score'" in warning]
    assert len(found) == (told is not None)
    assert told is None or told in found[0]
    assert told is None or "--drop score" in found[0]


def test_rare_classes_make_no_leak(tmp_path: Path) -> None:
    """Where most rows are of one class, noise is right of most rows as well."""
    rng = np.random.default_rng(3)
    kinds = rng.permutation(["most"] * 1_950 + ["some"] * 30 + ["few"] * 20)
    data = load_data(table(tmp_path / "t.csv", kinds, noise=rng.normal(size=2_000)), target="y")
    assert not [warning for warning in data.warnings if "'noise'" in warning]
