"""The metrics of several classes: means over the classes, each of which counts alike (macro), and those of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.selection_metric import OF_A_CLASS
from trainer.config.task import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray


def metrics_of(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """Return the metrics of probabilities, of which the highest is each row's class.

    Args:
        target: (rows,) codes of the classes.
        probability: (rows, classes) probabilities.
        weight: (rows,) positive weights; None where each row counts once.
    """
    return compute_metrics(target, probability.argmax(axis=1), probability, weight, probability.shape[1])


def compute_metrics(
    target: NDArray[np.int64],
    called: NDArray[np.int64],
    probability: NDArray[np.float64] | None,
    weight: NDArray[np.float64] | None,
    classes: int,
) -> dict[str, float]:
    """Return the metrics of predictions; those that need probabilities only where there are some.

    Classes that none of the rows is of have no part in a mean.

    Args:
        target: (rows,) codes of the classes.
        called: (rows,) codes of the predicted classes.
        probability: (rows, classes) probabilities, or None.
        weight: (rows,) positive weights; None where each row counts once.
        classes: How many classes there are.
    """
    from sklearn.metrics import (
        accuracy_score,
        average_precision_score,
        log_loss,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    there = np.unique(target)
    precision, recall, f1, _ = precision_recall_fscore_support(
        target, called, labels=there, average="macro", zero_division=0.0, sample_weight=weight
    )
    metrics = {
        "f1_macro": float(f1),
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "accuracy": float(accuracy_score(target, called, sample_weight=weight)),
    }
    if probability is None:
        return metrics
    ranked: dict[str, Any] = {"average_precision_macro": average_precision_score, "roc_auc_macro": roc_auc_score}
    apart = told_apart(target)
    for name, score in ranked.items():
        if apart:
            values = [score(target == code, probability[:, code], sample_weight=weight) for code in apart]
            metrics[name] = float(np.mean(values))
    loss = log_loss(target, probability, sample_weight=weight, labels=np.arange(classes))
    return {**metrics, "log_loss": float(loss)}


def told_apart(target: NDArray[np.int64]) -> list[int]:
    """Return the classes that some of the rows are of, and others are not."""
    there = np.unique(target).tolist()
    return [int(code) for code in there] if len(there) > 1 else []


def of_each_class(
    target: NDArray[np.int64],
    called: NDArray[np.int64],
    classes: Sequence[Label],
    weight: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Return precision, recall and F1 of each class that some of the rows are of, as ``f1/NAME``."""
    from sklearn.metrics import precision_recall_fscore_support

    there = np.unique(target)
    names = metric_names(classes)
    found = precision_recall_fscore_support(
        target, called, labels=there, average=None, zero_division=0.0, sample_weight=weight
    )
    return {
        f"{metric}/{names[code]}": float(value)
        for metric, values in zip(OF_A_CLASS, found, strict=False)
        for code, value in zip(there.tolist(), values, strict=True)
    }


def metric_names(classes: Sequence[Label]) -> list[str]:
    """Return each class as part of a metric's name, which MLflow takes letters, digits, -, _, . and spaces in."""
    names: list[str] = []
    for code, label in enumerate(classes):
        name = re.sub(r"[^\w\-. ]", "_", str(label))[:100].strip()
        # A path cannot hold these; and two classes may differ in a letter that is replaced.
        if not name.strip(".") or name in names:
            name = f"{name.strip('.')}_{code}".lstrip("_") if name.strip(".") else f"class_{code}"
        names.append(name)
    return names
