"""The confusion matrix at the chosen threshold, in counts and shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import scales, style
from trainer.plots.content import Content

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_NAMES = (("Left alone, rightly", "False alarm"), ("Missed", "Found"))


def counts(target: NDArray[np.int64], probability: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return the (2, 2) numbers of rows by actual (first axis) and predicted class (second)."""
    called = (probability >= threshold).astype(np.int64)
    return np.bincount(2 * target + called, minlength=4).reshape(2, 2)


def confusion_matrix(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    metrics: Mapping[str, float],
    heading: style.Heading,
) -> Content:
    """Return what a confusion matrix shows; the arguments are those of ``pr_curve``."""
    cells = counts(target, probability, threshold)
    shown = {
        "cells": cells,
        "threshold": threshold,
        "metrics": {name: float(metrics[name]) for name in ("f1", "precision", "recall")},
    }
    names = ("negative", "positive")
    table = {
        "actual": [actual for actual in names for _ in names],
        "predicted": [called for _ in names for called in names],
        "rows": cells.ravel(),
    }
    return Content("confusion_matrix", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the matrix."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    cells, metrics = np.asarray(content.shown["cells"]), content.shown["metrics"]
    rows, total = cells.sum(axis=1), int(cells.sum())
    of = f"F1 at threshold {content.shown['threshold']:.3g}"
    figure = style.canvas(content.heading, f"{metrics['f1']:.1%}", of, "Confusion matrix")
    axes = scales.axes_in(figure, left=0.2, right=0.83, bottom=0.16, top=0.755)
    # A colour's strength is the share of the actual class.
    corners, colours = [], []
    for actual in (0, 1):
        for called in (0, 1):
            share = cells[actual, called] / max(rows[actual], 1)
            corners.append(
                [(called + x, actual + y) for x, y in ((-0.49, -0.49), (0.49, -0.49), (0.49, 0.49), (-0.49, 0.49))]
            )
            colours.append(to_rgba(style.BLUE if actual == called else style.ORANGE, 0.06 + 0.44 * share))
            for text, drop, size, weight in (
                (f"{cells[actual, called]:,}", -0.12, 27, "bold"),
                (_NAMES[actual][called], 0.14, 12.5, "normal"),
                (f"{share:.1%} of the {'positives' if actual else 'negatives'}", 0.25, 12.5, "normal"),
                (f"{cells[actual, called] / total:.1%} of all rows", 0.36, 12.5, "normal"),
            ):
                axes.text(called, actual + drop, text, fontsize=size, fontweight=weight, color=style.INK,
                          ha="center", va="center")  # fmt: skip
    # An image of two by two pixels would be resampled, at five times the cost.
    axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0))
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(1.5, -0.5)
    columns = cells.sum(axis=0)
    called_as = [f"Called negative\n{columns[0]:,} rows", f"Called positive\n{columns[1]:,} rows"]
    scales.scale(axes, "top", [0, 1], called_as, size=12.5)
    scales.scale(axes, "left", [0, 1], [f"Negative\n{rows[0]:,} rows", f"Positive\n{rows[1]:,} rows"], size=12.5)
    for place, name, value in (
        ((1, 1.72), "Precision", metrics["precision"]),
        ((1.62, 1), "Recall", metrics["recall"]),
    ):
        align = "left" if name == "Recall" else "center"
        axes.text(place[0], place[1], f"{name}\n{value:.1%}", fontsize=13, color=style.BLUE, ha=align, va="center",
                  fontweight="bold", linespacing=1.4)  # fmt: skip
    accuracy = (cells[0, 0] + cells[1, 1]) / total
    axes.text(0, 1.72, f"Accuracy\n{accuracy:.1%}", fontsize=13, color=style.GREY, ha="center", va="center",
              linespacing=1.4)  # fmt: skip
    return figure
