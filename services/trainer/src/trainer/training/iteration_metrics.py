"""What LightGBM computes on the validation rows after each iteration: the loss, and the metric that ``--metric`` names.

The metric is computed where a fit stops early or may be pruned. It comes first then: LightGBM stops early by the first
one (``first_metric_only``), so that it stops by what variants are chosen by. Both are computed without class weights,
as the metrics of a run are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.selection_metric import Metric, merit
from trainer.config.task import Task, TaskName
from trainer.training import metrics, multiclass_metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What LightGBM calls the loss of each task.
LOSSES: Mapping[TaskName, str] = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "rmse"}
#: What it calls the other metrics that it computes itself.
_NAMES: Mapping[str, str] = {
    "average_precision": "average_precision",
    "roc_auc": "auc",
    "mae": "l1",
    "quantile_loss": "quantile",
}


def evaluated(task: Task, metric: Metric | None) -> list[Any]:
    """Return the metrics to compute, as LightGBM's ``fit`` takes them; for None the loss alone."""
    if metric is None:
        return [LOSSES[task.name]]
    if is_own(metric):
        # LightGBM puts its own metrics before those of others: the loss comes from here as well.
        return [_OWN[metric], _OWN_LOSSES[task.name]]
    name = LOSSES[task.name] if metric == task.loss else _NAMES[metric]
    return list(dict.fromkeys([name, LOSSES[task.name]]))


def decides(callback: object) -> bool:
    """Tell whether a callback reads the metric that is chosen by, and not the loss alone: it says ``decides``."""
    return bool(getattr(callback, "decides", False))


def is_own(metric: Metric) -> bool:
    """Tell whether LightGBM does not compute a metric itself."""
    return metric in _OWN


def settings(metric: Metric) -> dict[str, Any]:
    """Return LightGBM's parameters that make it stop by the metric."""
    if metric == "quantile_loss":
        # LightGBM puts a metric that is called as its objective behind the others, unless all are named.
        return {"first_metric_only": True, "metric": [_NAMES[metric], LOSSES["regression"]]}
    return {"first_metric_only": True, **({"metric": "None"} if is_own(metric) else {})}


def loss_of(state: Any) -> float | None:
    """Return the validation loss from what LightGBM tells a callback; None where nothing is watched."""
    results = state.evaluation_result_list or ()
    return next((float(result[2]) for result in results if result[1] in LOSSES.values()), None)


def merit_of(state: Any, metric: Metric) -> float:
    """Return the metric from what LightGBM tells a callback; more is better."""
    names = LOSSES.values() if metric in ("log_loss", "rmse") else (_NAMES.get(metric, metric),)
    return merit(metric, next(float(result[2]) for result in state.evaluation_result_list if result[1] in names))


#: A name, a value, and whether more is better: what LightGBM takes from a function.
_Result = tuple[str, float, bool]
_Function = Callable[["NDArray[Any]", "NDArray[np.float64]", "NDArray[np.float64] | None"], _Result]


def _f1(target: NDArray[Any], scores: NDArray[np.float64], weight: NDArray[np.float64] | None) -> _Result:
    """Return the highest F1 that any threshold gives."""
    _, precision, recall = metrics.by_threshold(target.astype(np.int64), scores, weight)
    total = precision + recall
    return "f1", float(np.max(2 * precision * recall / np.where(total > 0, total, 1.0))), True


def _loss(target: NDArray[Any], scores: NDArray[np.float64], weight: NDArray[np.float64] | None) -> _Result:
    sure = np.where(target > 0, scores, 1 - scores)
    return LOSSES["binary"], float(-np.average(np.log(np.clip(sure, 1e-15, 1.0)), weights=weight)), False


def _of_classes(metric: str) -> _Function:
    """Return a function that computes a metric of several classes."""

    def compute(target: NDArray[Any], scores: NDArray[np.float64], weight: NDArray[np.float64] | None) -> _Result:
        return metric, multiclass_metrics.metrics_of(target.astype(np.int64), scores, weight)[metric], True

    return compute


def _loss_of_classes(target: NDArray[Any], scores: NDArray[np.float64], weight: NDArray[np.float64] | None) -> _Result:
    sure = scores[np.arange(len(target)), target.astype(np.int64)]
    return LOSSES["multiclass"], float(-np.average(np.log(np.clip(sure, 1e-15, 1.0)), weights=weight)), False


def _r2(target: NDArray[Any], scores: NDArray[np.float64], weight: NDArray[np.float64] | None) -> _Result:
    from sklearn.metrics import r2_score

    return "r2", float(r2_score(target, scores, sample_weight=weight)), True


def _rmse(target: NDArray[Any], scores: NDArray[np.float64], weight: NDArray[np.float64] | None) -> _Result:
    return LOSSES["regression"], float(np.sqrt(np.average((scores - target) ** 2, weights=weight))), False


_OF_CLASSES = ("f1_macro", "accuracy", "average_precision_macro", "roc_auc_macro")
_OWN: Mapping[str, _Function] = {"f1": _f1, "r2": _r2, **{metric: _of_classes(metric) for metric in _OF_CLASSES}}
_OWN_LOSSES: Mapping[TaskName, _Function] = {"binary": _loss, "multiclass": _loss_of_classes, "regression": _rmse}
