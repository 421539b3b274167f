"""The ROC curve with the chosen threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import notes, scales, style
from trainer.plots.content import Content

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
) -> Content:
    """Return what a receiver operating characteristic shows; the arguments are those of ``pr_curve``."""
    from sklearn.metrics import roc_curve as curve

    false_alarms, found, thresholds = curve(target, probability, sample_weight=weight)
    false_alarms, found, thresholds = style.thinned(false_alarms, found, thresholds)
    negative = target == 0
    weights = None if weight is None else weight[negative]
    shown = {
        "false_alarms": false_alarms,
        "found": found,
        "threshold": threshold,
        "point": [float(np.average(probability[negative] >= threshold, weights=weights)), float(metrics["recall"])],
        "roc_auc": float(metrics["roc_auc"]),
    }
    table = {"false_positive_rate": false_alarms, "recall": found, "threshold": thresholds}
    return Content("roc_curve", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the curve."""
    shown = content.shown
    false_alarms, found = np.asarray(shown["false_alarms"]), np.asarray(shown["found"])
    of = "area under the ROC curve"
    figure = style.canvas(content.heading, f"{shown['roc_auc']:.1%}", of, "ROC curve")
    axes = scales.axes_in(figure)
    scales.percent_scales(
        axes,
        "False alarms: share of the negatives that are called positive",
        "Recall: share of the positives that are found",
    )
    axes.fill_between(false_alarms, found, color=style.BLUE, alpha=0.09, linewidth=0)
    axes.plot(false_alarms, found, color=style.BLUE, linewidth=2.4, solid_joinstyle="round", zorder=3)
    diagonal = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    axes.plot(*diagonal, color=style.GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    x, y = shown["point"]
    guide = np.array([x, x, 0.0]), np.array([0.0, y, y])
    axes.plot(*guide, color=style.ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    curve = false_alarms, found
    # Below the diagonal, from its end downwards, where the curve of a poor model does not run.
    places = [(place, place - 0.03) for place in (0.615, 0.84, 0.4, 0.25, 0.1)]
    boxes = [notes.text_box(axes, "No skill", 11.5, (at, up / axes.get_ylim()[1]), va="top") for at, up in places]
    free = [place for place, box in enumerate(boxes) if not notes.touches(axes, box, [curve])]
    best = (free or [0])[0]
    axes.text(*places[best], "No skill", fontsize=11.5, color=style.INK, va="top", zorder=4)
    text = f"Threshold {shown['threshold']:.3g}\nFalse alarms {x:.1%}\nFound {y:.1%}"
    notes.annotate(axes, text, (x, y), curves=[curve], texts=[boxes[best]], guides=[guide, diagonal])
    return figure
