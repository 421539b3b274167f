"""Several classes: a probability for each of them, and the most probable one is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import MULTICLASS
from trainer.training import metrics, multiclass_metrics
from trainer.training.tasks.base import TrainingTask
from trainer.util.text import listed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from trainer.data.dataset import Table
    from trainer.training.fit import FitResult


class MulticlassTask(TrainingTask):
    """Classes 0 to K - 1, which are ``classes``; ``scores`` are (rows, K) probabilities."""

    task = MULTICLASS
    objective = "multiclass"
    without = frozenset({"scale_pos_weight", "is_unbalance"})

    def _estimator(self, params: Mapping[str, Any]) -> Any:
        from lightgbm import LGBMClassifier

        return LGBMClassifier(**params)

    def labels(self, target: NDArray[Any]) -> NDArray[Any]:
        """Return the classes themselves: the model keeps them, and answers with them."""
        labels: NDArray[Any] = np.asarray(self.classes)[target]
        return labels

    def scores(self, model: Any, features: pd.DataFrame) -> NDArray[Any]:
        """Return the probability of each class."""
        scores: NDArray[Any] = model.predict_proba(features)
        return scores

    def evaluate(self, rows: Table, scores: NDArray[Any], threshold: float) -> dict[str, float]:
        """Return the metrics of the most probable classes."""
        del threshold
        return multiclass_metrics.metrics_of(rows.target, scores, rows.weight)

    def judge(self, rows: Table, answers: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
        """Return the metrics of classes as they are called."""
        codes = self._codes(answers)
        if scores is not None and scores.shape != (rows.rows, len(self.classes)):
            scores = None
        return multiclass_metrics.compute_metrics(
            rows.target, codes, scores, rows.weight, len(self.classes)
        ) | multiclass_metrics.of_each_class(rows.target, codes, self.classes, rows.weight)

    def of_each_class(self, rows: Table, scores: NDArray[Any]) -> dict[str, float]:
        """Return precision, recall and F1 of each class."""
        return multiclass_metrics.of_each_class(rows.target, scores.argmax(axis=1), self.classes, rows.weight)

    def curve(self, rows: Table, scores: NDArray[Any]) -> tuple[float, ...]:
        """Return the mean of the classes' PR curves, each against the rest."""
        curves = [
            metrics.sampled_curve((rows.target == code).astype(np.int64), scores[:, code], rows.weight)
            for code in multiclass_metrics.told_apart(rows.target)
        ]
        return tuple(round(sum(points) / len(curves), 4) for points in zip(*curves, strict=True))

    def constant_warning(self, fitted: FitResult, train: Table) -> str | None:
        """Compare accuracy and log loss with those of always saying the same."""
        if float(np.ptp(fitted.scores, axis=0).max()) == 0:
            return (
                "the model gives each row the same probabilities: no split was possible (fewer --min-child-samples, or"
                " more rows, allow one)"
            )
        shares = np.bincount(train.target, weights=train.weight, minlength=len(self.classes))
        shares = shares / shares.sum()
        accuracy, loss = fitted.validation["accuracy"], fitted.validation["log_loss"]
        entropy = -float(np.sum(shares * np.log(np.maximum(shares, 1e-300))))
        if accuracy <= shares.max() + 1e-9 and loss >= entropy:
            largest = self.classes[int(np.argmax(shares))]
            return (
                f"the model is no better than a constant: its validation accuracy is {accuracy:.4f}, and calling every"
                f" row {largest!r} has {shares.max():.4f}"
            )
        never = [str(self.classes[code]) for code in sorted(set(train.target) - set(fitted.scores.argmax(axis=1)))]
        if never:
            advice = "; --class-weight balanced gives rare classes weight" if fitted.is_lightgbm else ""
            return f"the model calls no test row {listed(never)}{advice}"
        return None

    def _codes(self, answers: NDArray[Any]) -> NDArray[np.int64]:
        known = {label: code for code, label in enumerate(self.classes)}
        found = [known.get(answer) for answer in answers.tolist()]
        if None in found:
            raise ValueError(f"it does not predict the classes {', '.join(map(str, self.classes[:5]))}")
        return np.array(found, dtype=np.int64)
