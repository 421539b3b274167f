"""The metrics of two classes, at a threshold and over all of them (others: multiclass_metrics, error_metrics)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import BINARY

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many levels of recall a sampled curve has.
LEVELS = 101
#: What ``metrics_at`` returns, in the order in which it is shown.
METRIC_NAMES = BINARY.metrics


def best_f1_threshold(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> float:
    """Return the threshold with the highest F1 when everything at or above it is called positive.

    Of thresholds with the same F1 the highest is returned, which calls the fewest rows positive.

    Args:
        target: (rows,) classes, 0 and 1, of both kinds.
        probability: (rows,) scores of the positive class.
        weight: (rows,) positive weights; None where each row counts once.
    """
    scores, called_positive, true_positives = counts(target, probability, weight)
    f1 = 2.0 * true_positives / (called_positive + true_positives[-1])
    return float(scores[np.argmax(f1)])


def by_threshold(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return all distinct thresholds, falling, with the precision and the recall of each.

    Args:
        target: (rows,) classes, 0 and 1, of both kinds.
        probability: (rows,) scores of the positive class.
        weight: (rows,) positive weights; None where each row counts once.
    """
    scores, called_positive, true_positives = counts(target, probability, weight)
    return scores, true_positives / called_positive, true_positives / true_positives[-1]


def counts(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[Any]]:
    """Return the distinct scores, falling, and how many rows at or above each there are, and how many are positive.

    With weights, their sums stand for numbers of rows.
    """
    order = np.argsort(-probability, kind="stable")
    scores = probability[order]
    # A threshold cannot part rows of the same score: only the last row of each score is a candidate.
    last = np.append(scores[1:] != scores[:-1], True)
    if weight is None:
        return scores[last], np.flatnonzero(last) + 1, np.cumsum(target[order])[last]
    ordered = weight[order]
    return scores[last], np.cumsum(ordered)[last], np.cumsum(ordered * target[order])[last]


def metrics_at(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    weight: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Return F1, precision and recall at the threshold, average precision, ROC AUC and log loss.

    Args:
        target: (rows,) classes, 0 and 1, of both kinds.
        probability: (rows,) scores of the positive class.
        threshold: Rows at or above it are called positive.
        weight: (rows,) positive weights; None where each row counts once.

    Returns:
        The metrics by name (see ``METRIC_NAMES``); each is a share from 0 to 1, but the log loss, which is in nats.
    """
    return compute_metrics(target, probability >= threshold, probability, weight)


def compute_metrics(
    target: NDArray[np.int64],
    called: NDArray[np.bool_],
    probability: NDArray[np.float64] | None,
    weight: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Return the metrics of predictions; those that need probabilities only where there are some.

    Args:
        target: (rows,) classes, 0 and 1, of both kinds.
        called: (rows,) what is called positive.
        probability: (rows,) scores of the positive class, or None.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import (
        average_precision_score,
        log_loss,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    precision, recall, f1, _ = precision_recall_fscore_support(
        target, called, average="binary", zero_division=0.0, sample_weight=weight
    )
    metrics = {"f1": float(f1), "precision": float(precision), "recall": float(recall)}
    if probability is None:
        return metrics
    return {
        **metrics,
        "average_precision": float(average_precision_score(target, probability, sample_weight=weight)),
        "roc_auc": float(roc_auc_score(target, probability, sample_weight=weight)),
        "log_loss": float(log_loss(target, probability, sample_weight=weight)),
    }


def sampled_curve(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> tuple[float, ...]:
    """Return the PR curve as its precision at ``LEVELS`` levels of recall from 0 to 1.

    Each is the precision of the first point that reaches the level. So few numbers can travel between processes and be
    kept with a run, however many rows there are.

    Args:
        target: (rows,) classes, 0 and 1, of both kinds.
        probability: (rows,) scores of the positive class.
        weight: (rows,) positive weights; None where each row counts once.
    """
    _, precision, recall = by_threshold(target, probability, weight)
    places = np.searchsorted(recall, np.linspace(0, 1, LEVELS) - 1e-12)
    # Sums of weights may end a last bit below 1.
    places = np.minimum(places, len(precision) - 1)
    return tuple(np.round(precision[places], 4).tolist())
