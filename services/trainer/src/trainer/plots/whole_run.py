"""All pictures of one run, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.importance import Importance, measure
from trainer.plots import confusion, importance, learning, precision_recall, reliability, roc, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from trainer.data import Dataset
    from trainer.fit import Fitted


def write_run(folder: Path, name: str, dataset: Dataset, fitted: Fitted) -> None:
    """Write the pictures of a fitted variant.

    Args:
        folder: Where the files go; created where it does not exist.
        name: The variant's name.
        dataset: What it was trained on.
        fitted: The fitted variant.
    """
    target, scores = dataset.test.target, fitted.probability
    tested = style.Heading(name, f"{dataset.name}, {dataset.test.rows:,} test rows")
    trained = style.Heading(name, f"{dataset.name}, {dataset.train.rows:,} training rows")
    measured = measure(fitted.model.estimator_.estimator, dataset.test.features, scores)
    point = (target, scores, fitted.threshold, fitted.test)
    for file, draw in _pictures(point, tested, measured, fitted.loss, fitted.iterations, trained, fitted.fold_losses):
        style.save(draw(), folder / file)


def _pictures(
    point: tuple[NDArray[np.int64], NDArray[np.float64], float, dict[str, float]],
    tested: style.Heading,
    measured: Importance,
    loss: Sequence[float],
    iterations: int,
    trained: style.Heading,
    folds: Sequence[Sequence[float]] = (),
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    # One at a time: each figure is gone before the next is drawn.
    yield "pr_curve.png", partial(precision_recall.pr_curve, *point, tested)
    yield "roc_curve.png", partial(roc.roc_curve, *point, tested)
    yield "confusion_matrix.png", partial(confusion.confusion_matrix, *point, tested)
    yield "calibration.png", partial(reliability.calibration, *point[:2], tested)
    yield "feature_importance.png", partial(importance.feature_importance, measured, tested)
    yield "learning_curve.png", partial(learning.learning_curve, loss, iterations, trained, folds)
