"""The ROC curve with the chosen threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import style
from trainer.plots.style import annotate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def roc_curve(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Figure:
    """Return a receiver operating characteristic; the arguments are those of ``pr_curve``."""
    from sklearn.metrics import roc_curve as curve

    false_alarms, found, _ = curve(target, probability, sample_weight=weight)
    false_alarms, found = style.thinned(false_alarms, found)
    figure = style.canvas(heading, f"{metrics['roc_auc']:.1%}", "area under the ROC curve")
    axes = style.axes_in(figure)
    axes.fill_between(false_alarms, found, color=style.BLUE, alpha=0.09, linewidth=0)
    axes.plot(false_alarms, found, color=style.BLUE, linewidth=2.4, solid_joinstyle="round", zorder=3)
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    axes.text(0.615, 0.59, "No skill", fontsize=11.5, color=style.INK, va="top", zorder=4)
    negative = target == 0
    weights = None if weight is None else weight[negative]
    x = float(np.average(probability[negative] >= threshold, weights=weights))
    y = metrics["recall"]
    axes.plot([x, x, 0], [0, y, y], color=style.ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    text = f"Threshold {threshold:.3g}\nFalse alarms {x:.1%}\nFound {y:.1%}"
    # A curve rises: there is room below and to the right of its point, or else to the left of the right edge.
    place = {"xytext": (min(x + 0.05, 0.72), max(y - 0.08, 0.25)), "textcoords": "data", "ha": "left", "va": "top"}
    annotate(axes, text, (x, y), place)
    style.percent_scales(
        axes,
        "False alarms: share of the negatives that are called positive",
        "Recall: share of the positives that are found",
    )
    return figure
