"""All plots of one run, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.plots import calibration, confusion, importance, learning, precision_recall, roc, style
from trainer.plots.importance_values import measure_importance
from trainer.training.metrics import metrics_at

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.training.fit import FitResult


def write_run_plots(folder: Path, name: str, dataset: Dataset, fitted: FitResult) -> None:
    """Write the plots of a fitted variant.

    Args:
        folder: Where the files go; created where it does not exist.
        name: The variant's name.
        dataset: What it was trained on.
        fitted: The fitted variant.
    """
    target, scores, weight = dataset.test.target, fitted.scores, dataset.test.weight
    # Two plots count rows, and have the metrics of rows that count once each.
    once = fitted.test if weight is None else metrics_at(target, scores, fitted.threshold)
    each = style.Heading(
        name, f"{dataset.name}, {dataset.test.rows:,} test rows" + ("" if weight is None else ", each counted once")
    )
    tested = style.Heading(name, f"{dataset.name}, {dataset.test.rows:,} test rows")
    trained = style.Heading(name, f"{dataset.name}, {dataset.train.rows:,} training rows")
    measured = measure_importance(fitted.pipeline)
    point = (target, scores, fitted.threshold, fitted.test)
    # Each figure is gone before the next is drawn.
    style.save(precision_recall.pr_curve(*point, tested, weight), folder / "pr_curve.png")
    style.save(roc.roc_curve(*point, tested, weight), folder / "roc_curve.png")
    style.save(
        confusion.confusion_matrix(target, scores, fitted.threshold, once, each), folder / "confusion_matrix.png"
    )
    style.save(calibration.calibration_curve(target, scores, each), folder / "calibration.png")
    style.save(importance.feature_importance(measured, trained), folder / "feature_importance.png")
    curve = learning.learning_curve(fitted.loss, fitted.iterations, trained, fitted.fold_losses)
    style.save(curve, folder / "learning_curve.png")
