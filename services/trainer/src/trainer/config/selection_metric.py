"""The metrics: how tables call them, and which way each is better; and those that variants can be chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

BinaryMetric = Literal["average_precision", "f1", "roc_auc", "log_loss"]
MulticlassMetric = Literal["f1_macro", "accuracy", "average_precision_macro", "roc_auc_macro"]
RegressionMetric = Literal["rmse", "mae", "r2", "quantile_loss"]
#: What variants of some task can be chosen by: one for pruning, early stopping and choosing. See ``config.task``.
Metric = BinaryMetric | MulticlassMetric | RegressionMetric
METRICS: tuple[BinaryMetric, ...] = get_args(BinaryMetric)
DEFAULT_METRIC: Metric = "average_precision"
#: How tables and lines call them.
SHORT: Mapping[str, str] = {
    "average_precision": "AP",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "f1_macro": "macro F1",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "accuracy": "accuracy",
    "average_precision_macro": "macro AP",
    "roc_auc_macro": "macro ROC AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "quantile_loss": "quantile loss",
}
#: Of these, less is better.
LOWER = frozenset({"log_loss", "rmse", "mae", "quantile_loss", "absolute_error_p50", "absolute_error_p90"})
#: A name of these has no better and no worse.
NEUTRAL = frozenset({"share_below", "error_p05", "error_p50", "error_p95"})
#: The metrics of a quantile alone: its loss, and which share of the rows is at it or below, which should be alpha.
OF_A_QUANTILE = ("quantile_loss", "share_below")
#: The metrics that each class has by itself, as ``f1/NAME``.
OF_A_CLASS = ("precision", "recall", "f1")


def metric_name(metric: str) -> str:
    """Return a metric as it is called in a sentence."""
    return SHORT[metric] if metric in ("rmse", "mae", "r2") else metric.replace("_", " ")


def merit(metric: str, value: float) -> float:
    """Return a metric's value so that more is better."""
    return -value if metric in LOWER else value
