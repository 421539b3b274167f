"""The precision-recall curve with the chosen threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.plots import notes, scales, style
from trainer.plots.content import Content

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

METRICS = ("average_precision", "precision", "recall", "f1")


def pr_curve(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Content:
    """Return what a precision-recall curve shows.

    Args:
        target: (rows,) classes, 0 and 1.
        probability: (rows,) scores of the positive class.
        threshold: The chosen threshold; its point is marked.
        metrics: The metrics at that threshold, of ``metrics.metrics_at``.
        heading: The plot's heading.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(target, probability, sample_weight=weight)
    # The last point is made up: nothing is found, and all of that is right.
    thresholds = np.append(thresholds, np.inf)
    recall, precision, thresholds = style.thinned(recall, precision, thresholds)
    shown = {
        "recall": recall,
        "precision": precision,
        "threshold": threshold,
        "metrics": {name: float(metrics[name]) for name in METRICS},
        "share": float(np.average(target, weights=weight)),
    }
    table = {"recall": recall, "precision": precision, "threshold": thresholds}
    return Content("pr_curve", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the curve."""
    shown = content.shown
    recall, precision = np.asarray(shown["recall"]), np.asarray(shown["precision"])
    metrics, share = shown["metrics"], shown["share"]
    of = "average precision"
    figure = style.canvas(content.heading, f"{metrics['average_precision']:.1%}", of, "Precision and recall")
    axes = scales.axes_in(figure)
    scales.percent_scales(
        axes, "Recall: share of the positives that are found", "Precision: share of the finds that are right"
    )
    # Precision at a recall holds until the next row is reached: steps, as average precision sums them.
    axes.fill_between(recall, precision, step="post", color=style.BLUE, alpha=0.09, linewidth=0)
    axes.step(recall, precision, where="post", color=style.BLUE, linewidth=2.4, solid_joinstyle="round", zorder=3)
    axes.axhline(share, color=style.GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    x, y = metrics["recall"], metrics["precision"]
    guide = np.array([x, x, 0.0]), np.array([0.0, y, y])
    axes.plot(*guide, color=style.ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    curve = notes.stepped(recall, precision)
    label = _no_skill(axes, share, curve)
    text = f"Threshold {shown['threshold']:.3g}\nPrecision {y:.1%}\nRecall {x:.1%}\nF1 {metrics['f1']:.1%}"
    level = np.array([0.0, 1.0]), np.array([share, share])
    notes.annotate(axes, text, (x, y), curves=[curve], texts=[label], guides=[guide, level])
    return figure


def _no_skill(axes: Axes, share: float, curve: tuple[NDArray[Any], NDArray[Any]]) -> notes.Box:
    """Write what the line of no skill is, at the end and on the side where the curve does not run through it."""
    text, size = f"No skill: {100 * share:.3g}% are positive", 11.5
    top = axes.get_ylim()[1]
    places = [
        ((x, (share + up) / top), ha, va)
        for va, up in (("bottom", 0.014), ("top", -0.018))
        for ha, x in (("left", 0.012), ("right", 0.988))
    ]
    boxes = [notes.text_box(axes, text, size, *place) for place in places]
    inside = [at for at, box in enumerate(boxes) if box[1] > 0 and box[3] < 1]
    free = [at for at in inside if not notes.touches(axes, boxes[at], [curve])]
    best = (free or inside)[0]
    (x, y), ha, va = places[best]
    axes.text(x, y * top, text, fontsize=size, color=style.INK, ha=ha, va=va, zorder=4)
    return boxes[best]
