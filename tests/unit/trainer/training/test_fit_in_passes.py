"""A table that is read in passes gives the model, the metrics and the digests of one in memory, bit for bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.config.stream import Stream
from trainer.config.task import TASKS
from trainer.config.variant import make_variant
from trainer.data import demo
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.data.streamed_table import StreamedTable
from trainer.training.fit import FitResult, fit_variant
from trainer.training.model import save_model
from trainer.util.errors import InputError

pytestmark = pytest.mark.slow

TARGET = demo.TARGET
STREAMS: tuple[Stream, ...] = ("never", "always")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Sessions with gaps in every kind of column, codes, and more categories than a byte counts."""
    table = demo.generate_sessions(3_000, seed=4)
    rng = np.random.default_rng(0)
    table["city"] = pd.Series(rng.integers(0, 400, len(table))).map("city {}".format)
    table["member"] = pd.Series(rng.random(len(table)) < 0.5).astype(object).where(rng.random(len(table)) > 0.1)
    table["empty"] = np.nan
    for name in ("city", "exit_rate", "month"):
        table[name] = table[name].where(rng.random(len(table)) > 0.05)
    table["minutes"] = rng.normal(size=len(table)) * 1e-3
    table["amount"] = rng.random(len(table)) + 0.5
    table["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 90, len(table)), unit="D")
    table["day"] = table["day"].astype(str)
    table["visitor"] = rng.integers(0, 700, len(table))
    table["label"] = np.array(["low", "mid", "high"])[rng.integers(0, 3, len(table))]
    return table


def _without_size(content: bytes) -> bytes:
    """Return a file without the time at which it was made, and the size of the trees' file, which holds addresses."""
    return re.sub(rb"(utc_time_created|model_size_bytes|model_uuid): .*", b"", content)


def in_file(rows: pd.DataFrame, folder: Path, kind: str) -> Path:
    if kind == "parts":
        for number in range(3):
            rows.iloc[number * 1_000 : (number + 1) * 1_000].to_csv(folder / f"part-{number}.csv", index=False)
        return folder / "part-*.csv"
    path = folder / f"shop.{kind}"
    if kind == "parquet":
        rows.to_parquet(path, index=False, row_group_size=700)
    else:
        rows.to_csv(path, index=False)
    return path


def both(path: Path, **options: Any) -> tuple[Dataset, Dataset]:
    options = {"target": TARGET, **options}
    held, streamed = (load_data(path, stream=stream, **options) for stream in ("never", "always"))
    assert isinstance(streamed.train, StreamedTable)
    return held, streamed


def fitted(dataset: Dataset, *, folds: int = 0) -> FitResult:
    params = make_variant({"n_estimators": 15}).params
    metric = TASKS[dataset.task].metric(None)
    return fit_variant(params, dataset, seed=42, validation_size=0.2, folds=folds, metric=metric)


def assert_same(held: Dataset, streamed: Dataset, **how: Any) -> tuple[FitResult, FitResult]:
    assert (held.digest, held.test_digest) == (streamed.digest, streamed.test_digest)
    assert held.column_types == streamed.column_types
    assert held.classes == streamed.classes
    one, other = fitted(held, **how), fitted(streamed, **how)
    trees = [fit.pipeline[-1].booster_.model_to_string() for fit in (one, other)]
    assert trees[0] == trees[1]
    assert (one.validation, one.test, one.loss, one.curve) == (other.validation, other.test, other.loss, other.curve)
    assert one.threshold == other.threshold or np.isnan(one.threshold)
    np.testing.assert_array_equal(one.scores, other.scores)
    return one, other


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "parts"])
def test_model_is_the_same_bit_for_bit(rows: pd.DataFrame, tmp_path: Path, kind: str) -> None:
    drop = ["amount", "day", "visitor", "label"]
    held, streamed = both(in_file(rows, tmp_path, kind), drop=drop)
    one, other = assert_same(held, streamed)
    for name, fit, dataset in (("held", one, held), ("streamed", other, streamed)):
        save_model(fit.model, dataset, tmp_path / name, run_id="r", model_id="m", location="x")
    for file in ("MLmodel", "training_rows.npz", "input_example.json"):
        texts = [_without_size((tmp_path / name / file).read_bytes()) for name in ("held", "streamed")]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "options",
    [
        {"weight": "amount"},
        {"time": "day", "drop": ["label"]},
        {"group": "visitor"},
        {"categorical": ["visitor"]},
        {"target": "label"},
        {"target": "minutes"},
        {"positive": "high", "target": "label", "drop": ["city"]},
        {"monotone": {"exit_rate": -1}},
    ],
    ids=str,
)
def test_every_kind_of_data_is_the_same(rows: pd.DataFrame, tmp_path: Path, options: dict[str, Any]) -> None:
    if "positive" in options:
        rows = rows.assign(label=rows["label"].replace("mid", "low"))
    assert_same(*both(in_file(rows, tmp_path, "csv"), **options))


def test_folds_are_the_same(rows: pd.DataFrame, tmp_path: Path) -> None:
    assert_same(*both(in_file(rows, tmp_path, "parquet")), folds=3)


def test_sampled_bins_are_the_same(rows: pd.DataFrame, tmp_path: Path) -> None:
    """LightGBM chooses bins by a sample of the rows: the same rows here and there."""
    params = make_variant({"n_estimators": 5}).params
    held, streamed = both(in_file(rows, tmp_path, "parquet"))
    with pytest.MonkeyPatch.context() as patch:
        from trainer.training.tasks import binary

        made = binary.BinaryTask._estimator
        patch.setattr(
            binary.BinaryTask, "_estimator", lambda self, given: made(self, {**given, "subsample_for_bin": 500})
        )
        trees = [
            fit_variant(params, one, seed=42, validation_size=0.2).pipeline[-1].booster_.model_to_string()
            for one in (held, streamed)
        ]
    assert "[bin_construct_sample_cnt: 500]" in trees[0]
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "purchas"}, "has no target column 'purchas'"),
        ({"target": None}, "name its target column"),
        ({"drop": ["none"]}, "has no column 'none' (--drop)"),
        ({"monotone": {"city": 1}}, "column 'city' is text; --monotone takes columns of numbers"),
        ({"weight": "exit_rate"}, "values are missing"),
    ],
)
def test_what_is_wrong_is_one_line(rows: pd.DataFrame, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        load_data(in_file(rows, tmp_path, "csv"), stream="always", **{"target": TARGET, **options})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rows_now", [2_900, 3_100])
def test_changed_file_is_one_line(rows: pd.DataFrame, tmp_path: Path, rows_now: int) -> None:
    """Between two passes a file may be replaced: the fit ends, whether it has become shorter or longer."""
    path = in_file(rows, tmp_path, "parquet")
    streamed = load_data(path, target=TARGET, stream="always")
    in_file(pd.concat([rows, rows]).iloc[:rows_now], tmp_path, "parquet")
    with pytest.raises(InputError, match=r"shop\.parquet: has changed while it was read"):
        fitted(streamed)


def test_size_decides(rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that would not fit into memory is read in passes, and a line says so."""
    path = in_file(rows, tmp_path, "parquet")
    assert load_data(path, target=TARGET, stream="auto").train.held
    monkeypatch.setattr("trainer.data.stream_choice.memory", lambda: 1 << 20)
    streamed = load_data(path, target=TARGET, stream="auto")
    assert not streamed.train.held
    assert any("is read in passes: it would take about" in line for line in streamed.warnings)
    assert load_data(path, target=TARGET, stream="never").train.held


def test_held_table_that_may_not_fit_is_told(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of evaluate and promote, or one beside --test; before it is read, which may be the end."""
    path = in_file(rows, tmp_path, "parquet")
    load_data(path, target=TARGET)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("trainer.data.stream_choice.memory", lambda: 1 << 20)
    load_data(path, target=TARGET)
    said = f"trainer: {path}: would take about 0.0 GiB of memory, and there are 0.0: it is held all the same"
    assert capsys.readouterr().err.startswith(said)
    load_data(path, target=TARGET, test=path)
    assert capsys.readouterr().err.count(said) == 2


def test_loss_beside_weights_of_classes(tmp_path: Path) -> None:
    """Validation rows have no weights, whatever those have that are fitted to."""
    path = tmp_path / "table.csv"
    demo.generate_sessions(900, seed=4).to_csv(path, index=False)
    params = make_variant({"n_estimators": 5, "class_weight": "balanced"}).params
    held, streamed = (
        fit_variant(params, load_data(path, target=TARGET, stream=way), seed=1, validation_size=0.2) for way in STREAMS
    )
    assert min(streamed.loss) > 0
    assert streamed.loss == held.loss
