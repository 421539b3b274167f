"""The metrics that variants can be chosen by: one for pruning, early stopping and choosing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Metric = Literal["average_precision", "f1", "roc_auc", "log_loss"]
METRICS: tuple[Metric, ...] = get_args(Metric)
DEFAULT_METRIC: Metric = "average_precision"
#: How tables and lines call them.
SHORT: Mapping[Metric, str] = {"average_precision": "AP", "f1": "F1", "roc_auc": "ROC AUC", "log_loss": "log loss"}


def merit(metric: Metric, value: float) -> float:
    """Return a metric's value so that more is better."""
    return -value if metric == "log_loss" else value
