"""Columns of weights, times and groups: what is refused of them, and how they split the rows."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from trainer.config.csv_form import CsvForm
from trainer.config.stream import Stream
from trainer.config.variant import make_variant
from trainer.data.row_hashes import hash_values
from trainer.data.sources import load_data
from trainer.training.fit import fit_variant
from trainer.training.validation_split import check_splits, fold_splits, split_validation
from trainer.util.errors import InputError

Load = Callable[..., Any]
STREAMS: tuple[Stream, ...] = ("never", "always")


@pytest.fixture
def load(table: pd.DataFrame, tmp_path: Path) -> Load:
    """Return a function that loads the sessions with more columns, as a CSV file."""

    def loaded(columns: dict[str, Any], target: str = "purchase", **how: Any) -> Any:
        table.assign(**columns).to_csv(tmp_path / "shop.csv", index=False)
        return load_data(tmp_path / "shop.csv", target=target, **how)

    return loaded


def days(rows: int) -> list[str]:
    """Return a date for each row, in no order; five rows a day."""
    order = np.random.default_rng(1).permutation(rows)
    return [str((pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(place // 5))).date()) for place in order]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "positive and finite; 1 of 600 are not (the first in row 3: 0)"),
        (-2, "in row 3: -2"),
        (np.inf, "in row 3: inf"),
        (1e300, "must be from 1e-20 to 1e+20; 1 of 600 are not (the first in row 3: 1e+300)"),
        (1e-300, "in row 3: 1e-300"),
        (None, "(--weight): 1 of 600 values are missing"),
        ("heavy", "weights must be numbers"),
    ],
)
def test_wrong_weight_is_refused_in_one_line(load: Load, value: Any, said: str) -> None:
    weights: list[Any] = [1.5] * 600
    weights[2] = value
    with pytest.raises(InputError) as refused:
        load({"w": weights}, weight="w")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("weight", [1e-20, 1e20])
def test_weights_of_any_size_are_fitted_to(load: Load, weight: float) -> None:
    dataset = load({"w": [weight] * 600}, weight="w")
    fit = fit_variant(make_variant({"n_estimators": 3}).params, dataset, seed=42, validation_size=0.2)
    assert all(np.isfinite(value) for value in fit.test.values())


def test_class_may_be_missing_in_later_rows(load: Load) -> None:
    """As in a test file; of one class alone, they tell nothing."""
    kinds = np.array(["a", "b", "c"])
    ended = [str(kinds[row % 3]) for row in range(450)] + [str(kinds[row % 2]) for row in range(150)]
    dataset = load({"kind": ended, "t": range(600)}, time="t", target="kind")
    assert dataset.classes == ("a", "b", "c")
    assert set(dataset.test.target) == {0, 1}
    with pytest.raises(InputError, match=r"the test part \(--test-size 0.2\): all 120 rows are of one class \(a\)"):
        load({"kind": ended[:480] + ["a"] * 120, "t": range(600)}, time="t", target="kind")


def test_role_columns_are_no_features(load: Load, table: pd.DataFrame) -> None:
    weights = np.linspace(0.5, 2, 600)
    dataset = load({"w": weights, "who": np.arange(600) // 4}, weight="w", group="who")
    assert set(dataset.column_types) == set(table.columns) - {"purchase"}
    np.testing.assert_allclose(dataset.whole().weight, weights)
    assert dataset.roles == {"weight": "w", "group": "who"}


def test_weights_change_the_digest(load: Load) -> None:
    """What is cached for one set of weights is not taken for another."""
    digests = {load({"w": np.full(600, value)}, weight="w").digest for value in (1.0, 2.0)}
    assert len(digests) == 2


def test_time_tests_on_what_came_after(load: Load) -> None:
    dataset = load({"day": days(600)}, time="day")
    assert dataset.train.time.max() < dataset.test.time.min()
    assert (dataset.train.rows, dataset.test.rows) == (480, 120)
    assert dataset.split == {
        "train_first_time": "2024-01-01",
        "train_last_time": "2024-04-05",
        "test_first_time": "2024-04-06",
        "test_last_time": "2024-04-29",
    }
    fitting, validation = split_validation(dataset, seed=5, validation_size=0.25)
    assert fitting.time is not None
    assert validation.time is not None
    assert fitting.time.max() < validation.time.min()
    assert validation.rows == 120


def test_time_may_be_a_number(load: Load) -> None:
    dataset = load({"year": np.repeat([2020, 2021, 2022, 2023, 2024, 2025], 100)}, time="year", test_size=0.3)
    assert dataset.split["test_first_time"] == "2024"
    assert dataset.test.rows == 200


@pytest.mark.parametrize("how", [{"time": "day"}, {"group": "day"}])
def test_rows_of_one_time_or_group_stay_together(load: Load, how: dict[str, str]) -> None:
    dataset = load({"day": days(600)}, **how, test_size=0.23)
    (role,) = how
    for one, other in ((dataset.train, dataset.test), split_validation(dataset, seed=5, validation_size=0.2)):
        assert not set(getattr(one, role)) & set(getattr(other, role))
        assert one.rows > other.rows > 0


def test_folds_of_groups_keep_them_together(load: Load) -> None:
    dataset = load({"who": np.arange(600) // 4}, group="who")
    table = dataset.train
    known, new = len(set(table.group)), len(set(dataset.test.group))
    assert dataset.split == {"groups_train": known, "groups_test": new}
    assert known + new == 150
    splits = fold_splits(table, 4, 5)
    assert sorted(np.concatenate([out for _, out in splits])) == list(range(table.rows))
    for stay, out in splits:
        assert not set(table.group[stay]) & set(table.group[out])


def test_folds_of_times_go_forward(load: Load) -> None:
    table = load({"day": days(600)}, time="day").train
    splits = fold_splits(table, 4, 5)
    for stay, out in splits:
        assert table.time[stay].max() < table.time[out].min()
    for (_, out), (stay, _) in itertools.pairwise(splits):
        assert set(out) <= set(stay)


def test_groups_are_the_same_in_any_file(table: pd.DataFrame, tmp_path: Path) -> None:
    """A model tells by them later on whose rows it was trained on."""
    tagged = table.assign(who=np.arange(600) // 4)
    tagged.to_csv(tmp_path / "shop.csv", index=False)
    tagged.iloc[::-1].to_parquet(tmp_path / "shop.parquet")
    csv, parquet = (
        load_data(tmp_path / name, target="purchase", group="who").whole().group
        for name in ("shop.csv", "shop.parquet")
    )
    assert parquet is not None
    np.testing.assert_array_equal(csv, parquet[::-1])


@pytest.mark.parametrize("stream", STREAMS)
def test_groups_of_decimal_commas_are_numbers(table: pd.DataFrame, tmp_path: Path, stream: Stream) -> None:
    """Equal numbers are one group, however a file spells them, as where numbers have decimal points."""
    who = np.arange(600) // 4 + 0.5
    spelt = [f"{number:.{1 + row % 3}f}".replace(".", ",") for row, number in enumerate(who)]
    table.assign(who=spelt).to_csv(tmp_path / "commas.csv", index=False, sep=";")
    table.assign(who=who).to_parquet(tmp_path / "shop.parquet")
    forms = {"commas.csv": CsvForm(separator=";", decimal=","), "shop.parquet": CsvForm(decimal=",")}
    commas, numbers = (
        load_data(tmp_path / name, target="purchase", group="who", csv=form, stream=stream)
        for name, form in forms.items()
    )
    np.testing.assert_array_equal(commas.train.group, numbers.train.group)
    np.testing.assert_array_equal(commas.test.group, numbers.test.group)
    assert len({*hash_values(pd.Series(["1,5", "1.5"]), ",")}) == 2


@pytest.mark.parametrize(
    ("columns", "how", "said"),
    [
        ({"a": 1}, {"time": "a"}, "--time: all rows are of one time"),
        ({"a": 1}, {"group": "a"}, "--group: all rows are of one group"),
        ({"a": "31/12/2024"}, {"time": "a"}, "write dates as 2024-12-31"),
        ({"a": True}, {"time": "a"}, "holds boolean values"),
        (
            {"a": ["2024-03-30T10:00+01:00", "2024-03-30 10:30:00"] * 300},
            {"time": "a"},
            "some dates name a time zone and 300 do not (the first in row 2: 2024-03-30 10:30:00)",
        ),
        ({"a": ["2024-03-30 10:00:00.5Z", "2024-03-30"] * 300}, {"time": "a"}, "(the first in row 2: 2024-03-30)"),
        ({"a": 1}, {"time": "a", "group": "a"}, "exclude each other"),
        ({"a": 1}, {"weight": "a", "group": "a"}, "named by --group as well"),
        ({"a": 1}, {"time": "b"}, "has no column 'b' (--time)"),
        ({"a": 1}, {"weight": "purchase"}, "--weight: 'purchase' is the target"),
        ({"a": 1}, {"weight": "a", "drop": ["a"]}, "both --drop and --weight"),
        ({"a": 1}, {"group": "a", "categorical": ["a"]}, "both --categorical and --group"),
    ],
)
def test_what_cannot_be_meant_is_refused(load: Load, columns: Any, how: Any, said: str) -> None:
    with pytest.raises(InputError) as refused:
        load(columns, **how)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "role", "said"),
    [
        (pd.date_range("2020-01-01", periods=600), "weight", "weights must be numbers"),
        (pd.to_timedelta(np.arange(1, 601), unit="h"), "weight", "weights must be numbers"),
        ([[1, 2]] * 600, "group", "(--group) holds lists or structures"),
        ([{"a": 1}] * 600, "group", "(--group) holds lists or structures"),
        (
            ["2020-01-01"] * 599 + ["9999-12-31"],
            "time",
            "from 1678 to 2261; 1 of 600 are not (the first in row 600",
        ),
        ([datetime.date(1, 1, 1)] * 600, "time", "600 of 600 are not (the first in row 1: 0001-01-01"),
        ([datetime.time(7, 8)] * 600, "time", "or as numbers (Time data 07:08:00 is not ISO8601 format)"),
        ([[1, 2]] * 600, "time", "write dates as 2024-12-31"),
        ([*range(599), np.inf], "time", "times must be finite; 1 of 600 are not (the first in row 600: inf)"),
        ([" NA ", " ", *"ab" * 299], "group", "(--group): 2 of 600 values are missing"),
        (pd.Categorical([*"ab" * 299, "", "NULL"]), "group", "(--group): 2 of 600 values are missing"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("stream", STREAMS)
def test_typed_column_of_no_use_is_refused(
    table: pd.DataFrame, tmp_path: Path, values: Any, role: str, said: str, stream: Stream
) -> None:
    """Dates would be weights of nanoseconds; beyond 2262 they would come first, as nanoseconds begin anew there."""
    table.assign(it=values).to_parquet(tmp_path / "shop.parquet")
    roles: Any = {role: "it"}
    with pytest.raises(InputError) as refused:
        load_data(tmp_path / "shop.parquet", target="purchase", stream=stream, **roles)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "last"),
    [
        ([Decimal(place) / 4 for place in range(600)], "149.75"),
        ([f" {day.date()} " for day in pd.date_range("1960-05-01", periods=600)], "1961-12-21"),
        ([day.date() for day in pd.date_range("1960-05-01", periods=600)], "1961-12-21"),
        (pd.date_range("1960-05-01", periods=600, tz="Europe/Berlin"), "1961-12-20T23:00:00"),
    ],
    ids=["decimals", "texts with blanks", "dates", "moments in a zone"],
)
@pytest.mark.parametrize("stream", STREAMS)
def test_times_of_every_type(table: pd.DataFrame, tmp_path: Path, values: Any, last: str, stream: Stream) -> None:
    table.assign(it=values).to_parquet(tmp_path / "shop.parquet")
    dataset = load_data(tmp_path / "shop.parquet", target="purchase", time="it", stream=stream)
    assert dataset.split["test_last_time"] == last
    np.testing.assert_array_equal(dataset.held_out, np.arange(480, 600))


def test_validation_of_one_class_is_refused(load: Load, table: pd.DataFrame) -> None:
    """All positives came first: the latest rows cannot choose a threshold."""
    order = np.argsort(1 - table["purchase"].astype(int).to_numpy(), kind="stable")
    time = np.empty(600, dtype=int)
    time[order] = np.arange(600)
    with pytest.raises(InputError, match=r"the test part .* of class 1 only 0"):
        load({"at": time}, time="at")
    # The very last row is positive, and the test part has both.
    time[order[0]] = 1_000
    dataset = load({"at": time}, time="at")
    with pytest.raises(InputError, match=r"--time: the .* held out for validation are of one class only"):
        check_splits(dataset, seed=1, validation_size=0.2, folds=0)


@pytest.mark.parametrize("role", ["time", "group"])
@pytest.mark.parametrize("target", ["purchase", "exit_rate"])
def test_training_rows_of_one_time_or_group(load: Load, role: str, target: str) -> None:
    """Of two, one is that of the test rows: the message speaks of the others, before anything is fitted."""
    dataset = load({"a": np.arange(600) // 470}, target=target, **{role: "a"})
    with pytest.raises(InputError, match=f"--{role}: all .* training rows are of one {role}, .*another --test-size"):
        check_splits(dataset, seed=1, validation_size=0.2, folds=0)


def ids(rows: int, kinds: int) -> np.ndarray:
    """Return a number below ``kinds`` for each row, in no order."""
    return np.random.default_rng(6).integers(0, kinds, rows)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("at", ids(600, 600) * 3_600 + 1_700_000_000, "column 'at' looks like a time: --time at tests on"),
        ("date", [int(day.replace("-", "")) for day in days(600)], "looks like a time: --time date tests on"),
        ("day", days(600), "later ones are unknown to the model; --time day tests on what came after"),
        ("visitor", [f"v{one}" for one in ids(600, 200)], "(--group visitor keeps them apart)"),
        ("visitor_id", ids(600, 200), "column 'visitor_id' looks like an identifier that repeats"),
        ("customerID", ids(600, 200), "(--group customerID keeps them apart)"),
    ],
)
def test_warning_names_the_option_that_splits(load: Load, name: str, values: Any, said: str) -> None:
    found = [warning for warning in load({name: values}).warnings if repr(name) in warning]
    assert said in found[-1]
    # Once the table is split by something, nothing is said.
    by = load({name: values, "other": np.arange(600) // 3}, group="other").warnings
    assert not any("--time" in warning or "--group" in warning for warning in by)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("amount", ids(600, 200)),
        ("paid", np.random.default_rng(2).normal(50, 9, 600)),
        ("city", [f"c{one}" for one in ids(600, 9)]),
        ("valid", ids(600, 200)),
        ("code", ids(600, 600) + 20_240_100),
        ("region_id", ids(600, 8)),
    ],
)
def test_other_columns_get_no_such_warning(load: Load, name: str, values: Any) -> None:
    assert not [warning for warning in load({name: values}).warnings if "--time" in warning or "--group" in warning]


@pytest.fixture
def two_files(table: pd.DataFrame, tmp_path: Path) -> tuple[Path, Path]:
    """Return a training file and a test file with columns of codes, times and groups."""
    parts = (table.head(450), table.tail(150))
    files = (tmp_path / "may.csv", tmp_path / "june.csv")
    for number, (part, file) in enumerate(zip(parts, files, strict=True)):
        codes = ["007", "A1"] if number else ["007", "008"]
        rows = len(part)
        part.assign(
            code=[codes[row % 2] for row in range(rows)],
            day=np.arange(rows) + 450 * number,
            who=np.arange(rows) // 3 + 150 * number,
        ).to_csv(file, index=False)
    return files


def test_test_file_is_the_test_rows(two_files: tuple[Path, Path], table: pd.DataFrame) -> None:
    train, test = two_files
    dataset = load_data(train, target="purchase", test=test, drop=["day", "who"])
    assert (dataset.train.rows, dataset.test.rows) == (450, 150)
    assert list(dataset.test.target) == list(table["purchase"].astype(int)[450:])
    # A text in one file is a text in both, as it is written.
    assert dataset.column_types["code"] == "text"
    assert set(dataset.train.features["code"]) == {"007", "008"}
    assert dataset.split == {"test_file": "june.csv"}
    assert dataset.test_source == str(test.resolve())
    assert dataset.test_size is None


@pytest.mark.parametrize(
    ("how", "wrong", "said"),
    [
        ({"time": "day"}, {"time": "who"}, "test rows begin at 0, before"),
        ({"group": "day"}, {"group": "who"}, "groups"),
    ],
)
def test_overlapping_test_file_is_told(
    two_files: tuple[Path, Path], how: dict[str, Any], wrong: dict[str, Any], said: str
) -> None:
    train, test = two_files
    assert not [one for one in load_data(train, target="purchase", test=test, **how).warnings if "rows begin" in one]
    pd.read_csv(test).assign(who=lambda t: t["who"] - 150).to_csv(test, index=False)
    assert [one for one in load_data(train, target="purchase", test=test, **wrong).warnings if said in one]


def test_copied_test_rows_are_told(two_files: tuple[Path, Path]) -> None:
    """Rows of the training file in the test file; where rows are alike anyway, it says nothing."""
    train, test = two_files
    options: dict[str, Any] = {"target": "purchase", "drop": ["day", "who"]}

    def told(**more: Any) -> list[str]:
        how = {**options, **more}
        return [one for one in load_data(train, test=test, **how).warnings if "are training rows too" in one]

    assert told() == []
    copied = pd.read_csv(train, dtype={"code": str}).head(30)
    pd.concat([pd.read_csv(test, dtype={"code": str}), copied]).to_csv(test, index=False)
    assert told() == [
        "30 of the 180 test rows (17%) are training rows too: the test metrics are too good for them; leave them out"
        " of one of the files"
    ]
    kept = {"code", "purchase"}
    assert told(drop=[name for name in pd.read_csv(train).columns if name not in kept]) == []


@pytest.mark.parametrize(
    ("data", "test", "said"),
    [
        ("four", "june.csv", "--test goes with one table"),
        (None, "june.csv", "--test goes with one table"),
        ("may.csv", "july.csv", "no such file or folder (--test)"),
        ("may.csv", "none", "holds no table; expected files of"),
        ("may.csv", "none/*", "finds no file (--test)"),
        ("may.csv", "other.csv", "only in may.csv"),
        ("may.csv", "untold.csv", "has no target column"),
        ("may.csv", "one.csv", "all 5 rows are of one class"),
    ],
)
def test_wrong_test_file_is_refused(two_files: tuple[Path, Path], data: Any, test: str, said: str) -> None:
    folder = two_files[0].parent
    (folder / "none").mkdir()
    (folder / "four").mkdir()
    (folder / "four" / "X_train.csv").touch()
    june = pd.read_csv(two_files[1])
    june.drop(columns="code").to_csv(folder / "other.csv", index=False)
    june.drop(columns="purchase").to_csv(folder / "untold.csv", index=False)
    june[june["purchase"].astype(int) == 0].head().to_csv(folder / "one.csv", index=False)
    with pytest.raises(InputError) as refused:
        load_data(data and folder / data, target="purchase", test=folder / test)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_run_with_a_test_file_and_times(
    trainer: Callable[..., Any], workdir: Path, two_files: tuple[Path, Path], table: pd.DataFrame
) -> None:
    """The run names the file and the times; the model is evaluated on the test file, not on the training file."""
    train, test = two_files
    options = ("--target", "purchase", "--time", "day", "--drop", "who", "--n-estimators", 5)
    answer = trainer("--data", train, "--test", test, "--test-size", 0.3, *options, "--json")
    assert answer.code == 0, answer.err
    assert "--test-size has no effect beside --test" in answer.err
    uri = f"sqlite:///{workdir}/mlflow.db"
    run = MlflowClient(uri).get_run(answer.json["run_id"])
    assert run.data.params["test_file"] == "june.csv"
    assert run.data.params["test_first_time"] == "450"
    assert "test_size" not in run.data.params
    assert run.inputs is not None
    assert {json.loads(one.dataset.source)["uri"] for one in run.inputs.dataset_inputs} == {str(train), str(test)}
    model = f"runs:/{run.info.run_id}/model"
    found = trainer("evaluate", "--model", model, "--data", test, "--target", "purchase", "--json")
    assert found.json["metrics"]["roc_auc"] == pytest.approx(answer.json["metrics"]["roc_auc"])
    seen = trainer("evaluate", "--model", model, "--data", train, "--target", "purchase")
    assert seen.code == 2
    assert "only 0 unseen rows" in seen.error
