"""Two classes: a probability of the positive one, and a threshold that decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import BINARY
from trainer.training import metrics
from trainer.training.tasks.base import TrainingTask

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from trainer.data.dataset import Dataset, Table
    from trainer.training.fit import FitResult
    from trainer.training.threshold_rule import ThresholdRule


class BinaryTask(TrainingTask):
    """Two classes, 0 and 1; ``scores`` are (rows,) probabilities of 1."""

    task = BINARY
    objective = "binary"

    def _estimator(self, params: Mapping[str, Any]) -> Any:
        from lightgbm import LGBMClassifier

        return LGBMClassifier(**params)

    def scores(self, model: Any, features: pd.DataFrame) -> NDArray[Any]:
        """Return the probability of the positive class."""
        scores: NDArray[Any] = model.predict_proba(features)[:, 1]
        return scores

    def threshold(self, rule: ThresholdRule, rows: Table, scores: NDArray[Any]) -> float:
        """Return the threshold that the rule chooses."""
        return rule.choose(rows.target, scores, rows.weight)

    def model(self, pipeline: Pipeline, dataset: Dataset, threshold: float) -> Any:
        """Return a classifier that decides by the threshold."""
        from sklearn.base import clone
        from sklearn.frozen import FrozenEstimator
        from sklearn.model_selection import FixedThresholdClassifier

        # Every part is fitted: this fit only takes note of the classes.
        model = FixedThresholdClassifier(
            FrozenEstimator(pipeline), threshold=threshold, pos_label=1, response_method="predict_proba"
        ).fit(*dataset.train.example())
        # scikit-learn keeps what it was given beside what it fitted: as an unfitted recipe, the former does not store
        # the trees a second time.
        model.estimator = clone(pipeline)
        return model

    def evaluate(self, rows: Table, scores: NDArray[Any], threshold: float) -> dict[str, float]:
        """Return the metrics at the threshold."""
        return metrics.metrics_at(rows.target, scores, threshold, rows.weight)

    def judge(self, rows: Table, answers: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
        """Return the metrics of classes 0 and 1."""
        called = answers.astype(np.int64) == 1
        probability = None if scores is None or scores.ndim != 2 or scores.shape[1] != 2 else scores[:, 1]
        return metrics.compute_metrics(rows.target, called, probability, rows.weight)

    def curve(self, rows: Table, scores: NDArray[Any]) -> tuple[float, ...]:
        """Return the PR curve."""
        return metrics.sampled_curve(rows.target, scores, rows.weight)

    def constant_warning(self, fitted: FitResult, train: Table) -> str | None:
        """Compare the F1 with that of calling each row positive."""
        if np.ptp(fitted.scores) == 0:
            return (
                "the model gives each row the same probability: no split was possible (fewer --min-child-samples, or"
                " more rows, allow one)"
            )
        share = float(np.average(train.target, weights=train.weight))
        always = 2 * share / (1 + share)
        f1 = fitted.validation["f1"]
        if f1 <= always + 1e-9:
            return (
                f"the model is no better than a constant: its validation F1 is {f1:.4f}, and calling every row positive"
                f" has {always:.4f}"
            )
        called = float(np.mean(fitted.scores >= fitted.threshold))
        if called in (0.0, 1.0):
            row = "every" if called else "no"
            return f"the model calls {row} test row positive: look at its threshold (--threshold)"
        return None
