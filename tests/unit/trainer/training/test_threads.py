"""Several threads leave what one thread leaves, bit for bit: trees, losses, metrics, parameters and the saved model."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import lightgbm
import numpy as np
import pandas as pd
import pytest
from skops.io import dumps
from trainer.config.selection_metric import Metric
from trainer.config.stream import Stream
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.training.fit import FitResult, fit_variant

pytestmark = pytest.mark.slow

ROWS = 30_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table whose sums depend on their order: weights and targets of any size, columns that are mostly zero.

    Weights and targets span many powers of ten, so that adding in another order gives other last digits.
    """
    rng = np.random.default_rng(8)
    features = {f"x{index}": rng.normal(size=ROWS) for index in range(3)}
    features |= {f"rare{index}": (rng.random(ROWS) < 0.2) * rng.normal(size=ROWS) for index in range(3)}
    kind = rng.integers(0, 8, ROWS)
    one_of_many = {f"kind{index}": (kind == index).astype(int) for index in range(8)}
    gaps = np.where(rng.random(ROWS) < 0.7, np.nan, rng.normal(size=ROWS))
    score = features["x0"] + features["x1"] * features["x2"] + features["rare0"] + kind % 3 + rng.normal(size=ROWS)
    table = pd.DataFrame(features | one_of_many | {"gaps": gaps, "city": rng.choice(list("abcdef"), ROWS)})
    table["weight"] = np.exp(3 * rng.normal(size=ROWS))
    table["positive"] = (score > 1).astype(int)
    table["size"] = np.digitize(score, [0, 2]).astype(str)
    table["amount"] = np.exp(2 * score)
    path = tmp_path_factory.mktemp("threads") / "table.parquet"
    table.to_parquet(path)
    return path


def load(data: Path, target: str, stream: Stream = "never") -> Dataset:
    others = [name for name in ("positive", "size", "amount") if name != target]
    return load_data(data, target=target, weight="weight", drop=others, stream=stream)


def fit(dataset: Dataset, threads: int, metric: Metric, folds: int = 0, **params: Any) -> FitResult:
    chosen = complete_params({"n_estimators": 8, "num_leaves": 15, "subsample": 0.7, "subsample_freq": 1}, params)
    return fit_variant(chosen, dataset, seed=5, validation_size=0.25, metric=metric, folds=folds, threads=threads)


def saved(fitted: FitResult) -> Any:
    """Return a model as it is saved, without the numbers by which the file's objects refer to each other."""
    with ZipFile(BytesIO(dumps(fitted.model))) as files:
        text = files.read("schema.json").decode()
    return json.loads(re.sub(r'"__id__": \d+|"file": "\d+\.npy"', '"_": 0', text))


def assert_equal(one: FitResult, several: FitResult) -> None:
    assert several.scores.tobytes() == one.scores.tobytes()
    assert (several.loss, several.fold_losses, several.iterations) == (one.loss, one.fold_losses, one.iterations)
    assert (several.validation, several.test, several.curve) == (one.validation, one.test, one.curve)
    assert (several.params, several.effective) == (one.params, one.effective)
    assert several.effective["num_threads"] == "1"
    assert saved(several) == saved(one)


@pytest.mark.parametrize(
    ("target", "metric", "params"),
    [
        ("positive", "average_precision", {"early_stopping_round": 3, "is_unbalance": True}),
        ("positive", "f1", {"data_sample_strategy": "goss", "subsample": 1.0, "subsample_freq": 0}),
        ("size", "log_loss", {"class_weight": "balanced"}),
        ("amount", "rmse", {"boosting_type": "dart"}),
        ("amount", "mae", {"objective": "regression_l1", "early_stopping_round": 3}),
        ("amount", "rmse", {"objective": "gamma", "colsample_bynode": 0.5}),
    ],
)
def test_threads_change_nothing(data: Path, target: str, metric: Metric, params: dict[str, Any]) -> None:
    dataset = load(data, target)
    assert_equal(fit(dataset, 1, metric, **params), fit(dataset, 3, metric, **params))


def test_threads_change_nothing_in_folds(data: Path) -> None:
    dataset = load(data, "amount")
    assert_equal(fit(dataset, 1, "rmse", folds=3), fit(dataset, 2, "rmse", folds=3))


def test_threads_change_nothing_in_passes(data: Path) -> None:
    """A table that is read in passes comes to the same, too."""
    one, several = fit(load(data, "amount"), 1, "rmse"), fit(load(data, "amount", "always"), 2, "rmse")
    assert several.scores.tobytes() == one.scores.tobytes()
    assert several.loss == one.loss


def test_threads_by_themselves_change_trees(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the module's settings this table's trees differ, so that the tests above see what they are for."""
    from trainer.training import threads

    dataset = load(data, "amount")
    monkeypatch.setattr(threads, "_EXACT", {})
    assert fit(dataset, 3, "rmse").scores.tobytes() != fit(dataset, 1, "rmse").scores.tobytes()


def test_several_threads_are_used(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    inner = lightgbm.LGBMModel.fit

    def noting(self: Any, *args: Any, **options: Any) -> Any:
        seen.append(self.n_jobs)
        return inner(self, *args, **options)

    monkeypatch.setattr(lightgbm.LGBMModel, "fit", noting)
    fit(load(data, "amount"), 3, "rmse")
    assert seen == [3]
