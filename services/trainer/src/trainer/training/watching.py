"""What LightGBM computes on the validation rows after each iteration: the metric that is chosen by, and the loss.

The metric comes first. LightGBM stops early by the first one (``first_metric_only``), so that it stops by what variants
are chosen by. Both are computed without class weights, as the metrics of a run are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.selection_metric import Metric, merit
from trainer.training import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What LightGBM calls the log loss.
LOSS = "binary_logloss"
_NAMES: Mapping[Metric, str] = {"average_precision": "average_precision", "roc_auc": "auc", "log_loss": LOSS}


def evaluated(metric: Metric) -> list[Any]:
    """Return the metrics to compute, as LightGBM's ``fit`` takes them."""
    if metric == "f1":
        # LightGBM puts its own metrics before those of others: the loss comes from here as well.
        return [_f1, _loss]
    return list(dict.fromkeys([_NAMES[metric], LOSS]))


def settings(metric: Metric) -> dict[str, Any]:
    """Return LightGBM's parameters that make it stop by the metric."""
    return {"first_metric_only": True, **({"metric": "None"} if metric == "f1" else {})}


def loss_of(state: Any) -> float | None:
    """Return the validation loss (nats) from what LightGBM tells a callback; None where nothing is watched."""
    return next((float(result[2]) for result in state.evaluation_result_list or () if result[1] == LOSS), None)


def merit_of(state: Any, metric: Metric) -> float:
    """Return the metric from what LightGBM tells a callback; more is better."""
    name = _NAMES.get(metric, metric)
    return merit(metric, next(float(result[2]) for result in state.evaluation_result_list if result[1] == name))


def _f1(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[str, float, bool]:
    """Return the highest F1 that any threshold gives."""
    _, precision, recall = metrics.by_threshold(target.astype(np.int64), probability, weight)
    total = precision + recall
    return "f1", float(np.max(2 * precision * recall / np.where(total > 0, total, 1.0))), True


def _loss(
    target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[str, float, bool]:
    sure = np.where(target > 0, probability, 1 - probability)
    return LOSS, float(-np.average(np.log(np.clip(sure, 1e-15, 1.0)), weights=weight)), False
