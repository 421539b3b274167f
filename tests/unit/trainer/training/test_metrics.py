"""Metrics and threshold, against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer.training import metrics
from trainer.training.metrics import METRIC_NAMES


@pytest.mark.slow
# A busy machine may take a while over one example.
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=60).filter(
        lambda rows: {label for label, _ in rows} == {0, 1}
    )
)
def test_highest_threshold_of_equal_f1_is_chosen(rows: list[tuple[int, int]]) -> None:
    """Threshold is the highest of those with the highest F1."""
    target = np.array([label for label, _ in rows])
    probability = np.array([score / 20 for _, score in rows])
    chosen = metrics.best_f1_threshold(target, probability)
    by_threshold = {t: sklearn.metrics.f1_score(target, probability >= t) for t in np.unique(probability)}
    assert by_threshold[chosen] == pytest.approx(max(by_threshold.values()))
    assert all(f1 < by_threshold[chosen] - 1e-12 for t, f1 in by_threshold.items() if t > chosen)


def test_metrics_match_counts_by_hand() -> None:
    target = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    probability = np.array([0.9, 0.8, 0.2, 0.7, 0.3, 0.1, 0.1, 0.05])
    values = metrics.metrics_at(target, probability, 0.7)
    assert values["precision"] == pytest.approx(2 / 3)
    assert values["recall"] == pytest.approx(2 / 3)
    assert values["f1"] == pytest.approx(2 / 3)
    # Positives at ranks 1, 2 and 5.
    assert values["average_precision"] == pytest.approx((1 / 1 + 2 / 2 + 3 / 5) / 3)
    # Of 15 pairs, the third positive loses to 0.7 and 0.3.
    assert values["roc_auc"] == pytest.approx(13 / 15)
    loss = -np.mean(np.where(target == 1, np.log(probability), np.log(1 - probability)))
    assert values["log_loss"] == pytest.approx(loss)
    assert tuple(values) == METRIC_NAMES


def test_threshold_itself_is_called_positive() -> None:
    values = metrics.metrics_at(np.array([0, 1]), np.array([0.1, 0.6]), 0.6)
    assert values["recall"] == 1.0


def test_constant_scores_still_give_a_threshold() -> None:
    target, probability = np.array([0, 1, 0]), np.full(3, 0.4)
    assert metrics.best_f1_threshold(target, probability) == 0.4
