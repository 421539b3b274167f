"""What the fit, the metrics and the model of a task have in common: the interface that each task implements."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainer.config.parameter import Value
from trainer.config.parameter_table import FIXED
from trainer.config.task import Label, Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from trainer.data.dataset import Dataset, Table
    from trainer.training.fit import FitResult
    from trainer.training.threshold_rule import ThresholdRule


class TrainingTask(ABC):
    """How models of one task are fitted, put together and judged. ``scores`` are what such a model says of rows."""

    task: ClassVar[Task]
    #: LightGBM's objective.
    objective: ClassVar[str]
    #: Parameters of the table that mean nothing here.
    without: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, classes: Sequence[Label] = ()) -> None:
        """Take the classes, as the target column has them, in the order of their codes."""
        self.classes = tuple(classes)

    def estimator(self, params: Mapping[str, Value], seed: int) -> Any:
        """Return the unfitted LightGBM estimator of a variant.

        Args:
            params: The variant's complete parameters.
            seed: LightGBM's seed where the parameters name none.
        """
        resolved: dict[str, Any] = {name: value for name, value in params.items() if name not in self.without}
        # What has no default is LightGBM's own.
        kept = ("random_state", "class_weight")
        resolved = {name: value for name, value in resolved.items() if value is not None or name in kept}
        resolved |= {**FIXED, "objective": params.get("objective") or self.objective}
        if resolved["random_state"] is None:
            resolved["random_state"] = seed
        return self._estimator(resolved)

    def with_params(self, params: Mapping[str, Value]) -> TrainingTask:
        """Return the task as a variant's parameters change it."""
        del params
        return self

    def of_model(self, model: Any) -> TrainingTask:
        """Return the task as a fitted model of the trainer's was made for it."""
        del model
        return self

    @abstractmethod
    def _estimator(self, params: Mapping[str, Any]) -> Any:
        """Return LightGBM's estimator with these parameters."""

    def labels(self, target: NDArray[Any]) -> NDArray[Any]:
        """Return a table's target as the estimator is fitted to it."""
        return target if target.dtype.kind == "f" else target.astype(np.int64, copy=False)

    @abstractmethod
    def scores(self, model: Any, features: pd.DataFrame) -> NDArray[Any]:
        """Return what a pipeline or a model says: probabilities, of one class or (rows, classes), or numbers."""

    def table_scores(self, model: Any, table: Table) -> NDArray[Any]:
        """Return what a pipeline or a model says of a table's rows."""
        return np.concatenate([self.scores(model, part) for part in table.parts()])

    def threshold(self, rule: ThresholdRule, rows: Table, scores: NDArray[Any]) -> float:
        """Return the threshold that a rule chooses on some rows; NaN where the task has none."""
        del rule, rows, scores
        return math.nan

    def model(self, pipeline: Pipeline, dataset: Dataset, threshold: float) -> Any:
        """Return the model that is kept, which answers with classes or numbers; the pipeline does so itself."""
        del dataset, threshold
        return pipeline

    @abstractmethod
    def evaluate(self, rows: Table, scores: NDArray[Any], threshold: float) -> dict[str, float]:
        """Return the task's metrics of scores."""

    @abstractmethod
    def judge(self, rows: Table, answers: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
        """Return the metrics of what a model has answered, those of each class too.

        Args:
            rows: The rows.
            answers: What the model's ``predict`` has returned for them.
            scores: What its ``predict_proba`` has returned; None for a model without.

        Raises:
            ValueError: It is no answer to this task.
        """

    def of_each_class(self, rows: Table, scores: NDArray[Any]) -> dict[str, float]:
        """Return the metrics that each class has by itself."""
        del rows, scores
        return {}

    def curve(self, rows: Table, scores: NDArray[Any]) -> tuple[float, ...]:
        """Return the PR curve, as ``metrics.sampled_curve`` returns it; empty where there is none."""
        del rows, scores
        return ()

    @abstractmethod
    def constant_warning(self, fitted: FitResult, train: Table) -> str | None:
        """Return a warning on a fitted variant that is no better than a constant, or None."""
