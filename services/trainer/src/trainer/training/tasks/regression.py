"""A number: the answer is what the trees say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.parameter import Value
from trainer.config.task import REGRESSION
from trainer.training import error_metrics
from trainer.training.tasks.base import TrainingTask

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from trainer.data.dataset import Table
    from trainer.training.fit import FitResult


#: LightGBM's own, where none is given.
QUANTILE = 0.9


class RegressionTask(TrainingTask):
    """A number for each row; ``scores`` are (rows,) predictions."""

    task = REGRESSION
    objective = "regression"
    answer_type = "double"
    without = frozenset({"scale_pos_weight", "is_unbalance", "class_weight"})
    #: The quantile that is predicted, if one is.
    quantile: float | None = None

    def with_params(self, params: Mapping[str, Value]) -> RegressionTask:
        """Return the task, with the quantile that the parameters name."""
        task = RegressionTask(self.classes)
        if params["objective"] == "quantile":
            task.quantile = float(params["alpha"] or QUANTILE)
        return task

    def _estimator(self, params: Mapping[str, Any]) -> Any:
        from lightgbm import LGBMRegressor

        return LGBMRegressor(**params)

    def scores(self, model: Any, features: pd.DataFrame) -> NDArray[Any]:
        """Return the prediction."""
        scores: NDArray[Any] = model.predict(features)
        return scores

    def evaluate(self, rows: Table, scores: NDArray[Any], threshold: float) -> dict[str, float]:
        """Return the metrics of the predictions' errors."""
        del threshold
        metrics = error_metrics.metrics_of(rows.target, scores, rows.weight)
        if self.quantile is not None:
            metrics |= error_metrics.quantile_metrics(rows.target, scores, self.quantile, rows.weight)
        return metrics

    def judge(self, rows: Table, answers: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
        """Return the metrics of the answers' errors."""
        del scores
        return error_metrics.metrics_of(rows.target, answers.astype(np.float64), rows.weight)

    def constant_warning(self, fitted: FitResult, train: Table) -> str | None:
        """Compare the error with that of always saying the mean."""
        if np.ptp(fitted.scores) == 0:
            return (
                "the model predicts the same for each row: no split was possible (fewer --min-child-samples, or more"
                " rows, allow one)"
            )
        if self.quantile is not None:
            always = np.full(train.rows, np.quantile(train.target, self.quantile))
            constant = error_metrics.quantile_metrics(train.target, always, self.quantile, train.weight)[
                "quantile_loss"
            ]
            if (loss := fitted.validation["quantile_loss"]) >= constant:
                return (
                    f"the model is no better than a constant: its validation quantile loss is {loss:.4g}, and"
                    f" predicting the training rows' quantile has {constant:.4g}"
                )
            return None
        r2 = fitted.validation["r2"]
        if r2 <= 0:
            return (
                f"the model is no better than a constant: its validation R2 is {r2:.4f}, and predicting the mean has 0"
            )
        return None
