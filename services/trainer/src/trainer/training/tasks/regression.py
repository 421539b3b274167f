"""A number: the answer is what the trees say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.parameter import Value
from trainer.config.selection_metric import SHORT
from trainer.config.task import REGRESSION
from trainer.config.variant import CHOSEN_BY
from trainer.training import error_metrics
from trainer.training.tasks.base import TrainingTask

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from trainer.data.dataset import Table
    from trainer.training.fit import FitResult


#: The quantile that LightGBM predicts where none is given.
QUANTILE = 0.9


class RegressionTask(TrainingTask):
    """A number for each row; ``scores`` are (rows,) predictions."""

    task = REGRESSION
    objective = "regression"
    without = frozenset({"scale_pos_weight", "is_unbalance", "class_weight"})
    #: The quantile that is predicted, if one is.
    quantile: float | None = None
    #: Whether the objective gives extreme rows less weight than the squared error does: then the best constant is the
    #: median, and not the mean.
    robust: bool = False

    def with_params(self, params: Mapping[str, Value]) -> RegressionTask:
        """Return the task, with the quantile that the parameters name, or the best constant of their objective."""
        task = RegressionTask(self.classes)
        if params.get("objective") == "quantile":
            task.quantile = float(params.get("alpha") or QUANTILE)
        task.robust = CHOSEN_BY.get(str(params.get("objective"))) == "mae"
        return task

    def of_model(self, model: Any) -> RegressionTask:
        """Return the task, with the quantile that the model predicts, if it does."""
        return self.with_params(model[-1].get_params())

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
        return self._metrics(rows, scores)

    def judge(self, rows: Table, answers: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
        """Return the metrics of the answers' errors."""
        del scores
        return self._metrics(rows, answers.astype(np.float64))

    def _metrics(self, rows: Table, predicted: NDArray[Any]) -> dict[str, float]:
        metrics = error_metrics.metrics_of(rows.target, predicted, rows.weight)
        if self.quantile is not None:
            metrics |= error_metrics.quantile_metrics(rows.target, predicted, self.quantile, rows.weight)
        return metrics

    def constant_warning(self, fitted: FitResult, train: Table) -> str | None:
        """Compare the error with that of always saying the mean, the median, or the quantile."""
        if np.ptp(fitted.scores) == 0:
            return (
                "the model predicts the same for each row: no split was possible (fewer --min-child-samples, or more"
                " rows, allow one)"
            )
        if self.quantile is not None:
            return self._beside(fitted, train, self.quantile, "quantile_loss", "quantile")
        if self.robust:
            return self._beside(fitted, train, 0.5, "mae", "median")
        r2 = fitted.validation["r2"]
        if r2 <= 0:
            return (
                f"the model is no better than a constant: its validation R2 is {r2:.4f}, and predicting the mean has 0"
            )
        return None

    def _beside(self, fitted: FitResult, train: Table, share: float, metric: str, what: str) -> str | None:
        """Compare the error with that of always saying a quantile of the training rows."""
        always = np.full(train.rows, error_metrics.quantile(train.target, share, train.weight))
        constant = self._metrics(train, always)[metric]
        if (loss := fitted.validation[metric]) < constant:
            return None
        return (
            f"the model is no better than a constant: its validation {SHORT[metric]} is {loss:.4g}, and predicting the"
            f" training rows' {what} has {constant:.4g}"
        )
