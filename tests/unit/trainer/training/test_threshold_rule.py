"""Threshold rules, against brute force over all thresholds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    fbeta_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.training.fit import fit_variant
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.util.errors import InputError, TrainerError


def precision_and_recall(target: NDArray[Any], called: NDArray[Any]) -> tuple[float, float]:
    """Return both by their definitions; at least one row is called positive, and one is."""
    right = float(np.sum(called & (target == 1)))
    return right / float(np.sum(called)), right / float(np.sum(target))


def test_definitions_are_scikit_learns() -> None:
    target, called = np.array([1, 1, 1, 0, 0]), np.array([True, False, False, True, False])
    expected = precision_recall_fscore_support(target, called, average="binary")[:2]
    assert precision_and_recall(target, called) == expected == (1 / 2, 1 / 3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("text", ["precision>=0.5", "precision>=0.3", "recall>=0.9", "recall>=0.33", "recall>=1"])
def test_rule_finds_what_brute_force_finds(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = (rng.random(150) < 0.3).astype(np.int64)
    target[:2] = 0, 1
    probability: Any = np.round(np.clip(target * 0.4 + rng.random(150) * 0.6, 0, 1), 2)
    policy = parse_threshold_rule(text)
    table = [(*precision_and_recall(target, probability >= t), t) for t in np.unique(probability)]
    kept, other = (0, 1) if policy.kind == "precision" else (1, 0)
    best = max((row for row in table if row[kept] >= policy.value), key=lambda row: (row[other], row[2]))
    assert policy.choose(target, probability) == best[2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("text", "merit"),
    [
        ("f2", lambda target, called: fbeta_score(target, called, beta=2)),
        ("fbeta:0.5", lambda target, called: fbeta_score(target, called, beta=0.5)),
        ("balanced-accuracy", balanced_accuracy_score),
        (
            "cost:FP=1,FN=5",
            lambda target, called: -np.sum(called & (target == 0)) - 5 * np.sum(~called & (target == 1)),
        ),
        (
            "cost:FP=9,FN=1",
            lambda target, called: -9 * np.sum(called & (target == 0)) - np.sum(~called & (target == 1)),
        ),
    ],
)
def test_best_by_merit_is_brute_forces(text: str, merit: Callable[..., float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = (rng.random(150) < 0.3).astype(np.int64)
    target[:2] = 0, 1
    probability: Any = np.round(np.clip(target * 0.2 + rng.random(150) * 0.75, 0, 1), 2)
    chosen = parse_threshold_rule(text).choose(target, probability)
    # Above the highest score, no row is called positive.
    candidates = [*np.unique(probability), np.nextafter(probability.max(), 1)]
    merits = {t: merit(target, probability >= t) for t in candidates}
    best = max(merits.values())
    assert merit(target, probability >= chosen) == pytest.approx(best)
    assert not any(value > best - 1e-12 for t, value in merits.items() if t > chosen)


def test_dear_false_positives_call_nobody() -> None:
    """One that costs a thousand times what a missed row does: no threshold at a score is as cheap as none at all."""
    chosen = parse_threshold_rule("cost:FP=1000,FN=1").choose(np.array([1, 0]), np.array([0.4, 0.6]))
    assert 0.6 < chosen < 0.6001


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("max-f1", "max-f1"),
        (" Precision >= .8", "precision>=0.8"),
        ("recall>=0.90", "recall>=0.9"),
        ("0.25", "0.25"),
        ("F2", "fbeta:2"),
        ("fbeta:0.50", "fbeta:0.5"),
        ("Balanced-Accuracy", "balanced-accuracy"),
        ("balanced_accuracy", "balanced-accuracy"),
        ("cost: FN=5, FP=1.5", "cost:FP=1.5,FN=5"),
    ],
)
def test_rule_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert str(parse_threshold_rule(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "f1", "precision>0.8", "precision>=0", "recall>=1.1", "-0.1", "1.5", "nan", "inf", "recall>=x", "\uff11"),
        *("fbeta:0", "fbeta", "fbeta:-1", "f3", "cost:FP=1", "cost:FP=1,FP=2", "cost:FP=0,FN=1", "cost:FP=1,FN=1e999"),
    ],
)
def test_wrong_threshold_rule_is_refused(text: str) -> None:
    """Anything else is refused with what is allowed."""
    with pytest.raises(InputError, match=r"--threshold: .* is not allowed; it must be max-f1"):
        parse_threshold_rule(text)


def test_unreachable_precision_says_what_is() -> None:
    """Precision out of reach says what is reached."""
    with pytest.raises(TrainerError, match=r"precision>=0.9: no threshold .* the highest precision there is 0\.5000"):
        parse_threshold_rule("precision>=0.9").choose(np.array([0, 1]), np.array([0.5, 0.5]))


def test_model_uses_the_validation_threshold(dataset: Dataset) -> None:
    """Threshold is kept on validation rows and used by the model."""
    complete = complete_params({"n_estimators": 12, "num_leaves": 8})
    fitted = [
        fit_variant(complete, dataset, seed=5, validation_size=0.25, threshold_rule=parse_threshold_rule(text))
        for text in ("recall>=0.95", "0.125")
    ]
    assert fitted[0].validation["recall"] >= 0.95
    assert fitted[1].threshold == 0.125
    for one in fitted:
        classes = one.model.predict(dataset.test.features)
        np.testing.assert_array_equal(classes, (one.probability >= one.threshold).astype(int))


def test_command_line_logs_rule_and_threshold(trainer: Callable[..., Any], workdir: Path) -> None:
    answer = trainer("--n-estimators", 3, "--threshold", "0.3")
    assert answer.code == 0
    client = MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.params["threshold_rule"] == "0.3"
    assert run.data.metrics["threshold"] == 0.3


def test_wrong_rule_is_refused_before_work(trainer: Callable[..., Any], workdir: Path) -> None:
    """Command line refuses a wrong rule before it does anything."""
    answer = trainer("--threshold", "precision=0.8")
    assert answer.code == 2
    assert "'precision=0.8' is not allowed" in answer.error


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=12),
        st.floats(allow_nan=True, allow_infinity=True).map(str),
        st.tuples(st.sampled_from(["precision>=", "recall >= ", "f1>=", ">="]), st.floats(0, 1.2)).map(
            lambda parts: f"{parts[0]}{parts[1]}"
        ),
    )
)
def test_any_text_is_a_rule_or_one_line(text: str) -> None:
    try:
        policy = parse_threshold_rule(text)
    except InputError as error:
        message = str(error)
    else:
        assert 0 <= policy.value <= 1
        # What a run logs as its rule is that rule.
        assert parse_threshold_rule(str(policy)) == policy
        return
    assert "\n" not in message
    assert message.startswith("--threshold: ")


rows = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=40).filter(
    lambda some: len({target for target, _ in some}) == 2
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from(["max-f1", "precision>=0.4", "precision>=0.9", "recall>=0.5", "recall>=1", "0.35"]))
def test_any_scores_keep_the_threshold_rule(rows: list[tuple[bool, int]], text: str) -> None:
    """Any scores give a threshold that keeps the rule or one line."""
    target = np.array([int(positive) for positive, _ in rows])
    probability = np.array([score / 20 for _, score in rows])
    policy = parse_threshold_rule(text)
    reached = max(precision_score(target, probability >= score) for score in probability)
    if policy.kind == "precision" and reached < policy.value:
        with pytest.raises(TrainerError, match=r"^--threshold precision>=.*the highest precision there is .*"):
            policy.choose(target, probability)
        return
    threshold = policy.choose(target, probability)
    called = probability >= threshold
    if policy.kind == "precision":
        assert precision_score(target, called) >= policy.value
    if policy.kind == "recall":
        assert recall_score(target, called) >= policy.value
