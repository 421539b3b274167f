"""Asking trees in blocks gives LightGBM's own bits, for every kind of model; where it does not, it is not used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm
import numpy as np
import pytest
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.serving import leaf_sums
from trainer.serving.booster import Booster
from trainer.serving.leaf_sums import LeafSums
from trainer.training.fit import fit_variant

#: Trees that no number of blocks has, and rows that no number of parts has.
TREES, ROWS = 75, 1_500


def fitted(dataset: Dataset, **params: Any) -> lightgbm.Booster:
    wanted = complete_params({"n_estimators": TREES, "num_leaves": 12, **params})
    model = fit_variant(wanted, dataset, seed=1, validation_size=0.2).model.estimator_.estimator[-1]
    booster: lightgbm.Booster = model.booster_
    return booster


def hard_matrix(width: int) -> Any:
    """Return numbers of every size, missing values, both infinities, both zeros and codes that no category has."""
    rng = np.random.default_rng(2)
    matrix = rng.integers(-2, 12, (ROWS, width)) + np.where(rng.random((ROWS, width)) < 0.5, 0, rng.random(width))
    matrix *= np.where(rng.random((ROWS, width)) < 0.2, 10.0 ** rng.integers(-40, 40, (ROWS, width)), 1)
    chosen = rng.random((ROWS, width))
    for share, value in ((0.2, np.nan), (0.1, np.inf), (0.08, -np.inf), (0.06, 0.0), (0.04, -0.0), (0.02, 1e308)):
        matrix[chosen < share] = value
    return np.ascontiguousarray(matrix)


@pytest.fixture
def _small_models_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf_sums, "FEWEST_LEAVES", 1)


@pytest.mark.usefixtures("_small_models_too")
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"boosting_type": "dart"},
        {"is_unbalance": True},
        {"n_estimators": 1},
        {"n_estimators": 400, "learning_rate": 0.5, "early_stopping_round": 20},
        {"n_estimators": 300, "learning_rate": 1.0, "min_child_samples": 1},
        {"min_child_samples": 100_000},
    ],
    ids=["plain", "dart", "weighted", "one tree", "stopped early", "extreme scores", "no splits"],
)
def test_blocks_of_trees_give_the_same_bits(dataset: Dataset, params: dict[str, Any]) -> None:
    own = fitted(dataset, **params)
    booster = Booster(own.model_to_string(num_iteration=-1), own.best_iteration)
    matrix = hard_matrix(booster.width)
    assert booster._sums is not None
    expected = np.asarray(own.predict(matrix, num_threads=1))
    assert booster.predict(matrix).tobytes() == expected.tobytes()
    assert booster.prove_blocks(matrix).tobytes() == expected.tobytes()
    assert booster._sums is not None


@pytest.mark.parametrize("cpus", [1, 2, 7])
@pytest.mark.parametrize("params", [{}, {"n_estimators": 400, "num_leaves": 31}], ids=["small", "in blocks"])
def test_parts_of_a_request_give_the_same_bits(
    dataset: Dataset, params: dict[str, Any], cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of many rows is answered in parts, side by side."""
    asked: list[int] = []
    part = Booster._part
    monkeypatch.setattr("trainer.serving.booster.available_cpus", lambda: cpus)

    def noted(booster: Booster, rows: Any) -> Any:
        asked.append(len(rows))
        return part(booster, rows)

    monkeypatch.setattr(Booster, "_part", noted)
    own = fitted(dataset, **params)
    booster = Booster(own.model_to_string(num_iteration=-1), own.best_iteration)
    matrix = hard_matrix(booster.width)
    expected = np.asarray(own.predict(matrix, num_threads=1))
    assert booster.predict(matrix).tobytes() == expected.tobytes()
    assert (len(asked), sum(asked)) == (min(cpus, 5), ROWS)
    assert booster.predict(matrix[:511]).tobytes() == expected[:511].tobytes()
    assert asked[-1] == 511


@pytest.mark.slow
@pytest.mark.usefixtures("_small_models_too")
@pytest.mark.parametrize(
    "params", [{}, {"n_estimators": 400, "early_stopping_round": 20}], ids=["all", "stopped early"]
)
def test_requests_do_not_disturb_each_other(dataset: Dataset, params: dict[str, Any]) -> None:
    """Single rows, and small and large requests at the same time, get the bits that each gets alone."""
    own = fitted(dataset, **params)
    booster = Booster(own.model_to_string(num_iteration=-1), own.best_iteration)
    matrix = hard_matrix(booster.width)
    expected = np.asarray(own.predict(matrix, num_threads=1))
    sizes = [1, 1, 20, 150, 400, ROWS] * 40
    with ThreadPoolExecutor(8) as pool:
        for size, found in zip(sizes, pool.map(lambda size: booster.predict(matrix[:size]), sizes), strict=True):
            assert found.tobytes() == expected[:size].tobytes(), size


@pytest.mark.usefixtures("_small_models_too")
def test_sums_of_blocks_are_other_bits(dataset: Dataset) -> None:
    """Adding the scores of blocks is another order of additions: why the leaves are asked for instead."""
    own = fitted(dataset, n_estimators=300)
    matrix = hard_matrix(own.num_feature())
    whole, blocks = np.asarray(own.predict(matrix, raw_score=True)), np.zeros(ROWS)
    for first in range(0, 300, 50):
        blocks += np.asarray(own.predict(matrix, raw_score=True, start_iteration=first, num_iteration=50))
    np.testing.assert_allclose(blocks, whole)
    assert (blocks != whole).mean() > 0.5


@pytest.mark.usefixtures("_small_models_too")
@pytest.mark.parametrize("params", [{"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}])
def test_forest_is_left_to_lightgbm(dataset: Dataset, params: dict[str, Any]) -> None:
    own = fitted(dataset, **params)
    booster = Booster(own.model_to_string(), own.best_iteration)
    assert booster._sums is None
    matrix = hard_matrix(booster.width)
    assert booster.predict(matrix).tobytes() == np.asarray(own.predict(matrix, num_threads=1)).tobytes()


def test_small_model_is_left_to_lightgbm(dataset: Dataset) -> None:
    text = fitted(dataset).model_to_string()
    assert LeafSums.read(text, -1) is None


@pytest.mark.usefixtures("_small_models_too")
def test_blocks_that_differ_are_given_up(dataset: Dataset) -> None:
    """A leaf that was read otherwise shows in the proof, and the answers are LightGBM's from then on."""
    own = fitted(dataset)
    booster = Booster(own.model_to_string(), own.best_iteration)
    assert booster._sums is not None
    booster._sums._values = booster._sums._values * (1 + 1e-12)
    matrix = hard_matrix(booster.width)
    expected = np.asarray(own.predict(matrix, num_threads=1)).tobytes()
    assert booster.predict(matrix).tobytes() != expected
    assert booster.prove_blocks(matrix).tobytes() == expected
    assert booster.predict(matrix).tobytes() == expected
