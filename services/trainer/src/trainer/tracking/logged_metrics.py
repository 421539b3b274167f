"""Metrics as MLflow's client takes them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Metric


def metric_history(name: str, values: Sequence[float]) -> list[Metric]:
    """Return a metric's history: one value an iteration, counted from 1."""
    from mlflow.entities import Metric

    now = _milliseconds()
    return [Metric(name, value, now, step) for step, value in enumerate(values, start=1)]


def metric_values(values: Mapping[str, float], *, step: int = 0, **links: str) -> list[Metric]:
    """Return metrics of one value each.

    Args:
        values: The values by name.
        step: Where in a history they stand; of several values MLflow shows that of the last step, and there the latest.
        links: ``run_id``, ``model_id``, ``dataset_name`` and ``dataset_digest``: what the values belong to.
    """
    from mlflow.entities import Metric

    now = _milliseconds()
    return [Metric(name, value, now, step, **links) for name, value in values.items()]


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
