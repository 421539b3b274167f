"""The precision-recall curve with the chosen threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.plots import style
from trainer.plots.style import annotate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def pr_curve(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Figure:
    """Return a precision-recall curve.

    Args:
        target: (rows,) classes, 0 and 1.
        probability: (rows,) scores of the positive class.
        threshold: The chosen threshold; its point is marked.
        metrics: The metrics at that threshold, of ``metrics.metrics_at``.
        heading: The plot's heading.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(target, probability, sample_weight=weight)
    recall, precision = style.thinned(recall, precision)
    share = float(np.average(target, weights=weight))
    figure = style.canvas(heading, f"{metrics['average_precision']:.1%}", "average precision")
    axes = style.axes_in(figure)
    # Precision at a recall holds until the next row is reached: steps, as average precision sums them.
    axes.fill_between(recall, precision, step="post", color=style.BLUE, alpha=0.09, linewidth=0)
    axes.step(recall, precision, where="post", color=style.BLUE, linewidth=2.4, solid_joinstyle="round", zorder=3)
    axes.axhline(share, color=style.GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    x, y = metrics["recall"], metrics["precision"]
    axes.plot([x, x, 0], [0, y, y], color=style.ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    text = f"Threshold {threshold:.3g}\nPrecision {y:.1%}\nRecall {x:.1%}\nF1 {metrics['f1']:.1%}"
    annotate(axes, text, (x, y), _place(x, y, share))
    # At the left, where a curve is high above it; below the line at the right, where the note would cover it.
    aside = _is_under(x, y) and x < 0.66 and share > y - 0.3
    over = share < 0.9 and not aside
    axes.text(
        0.988 if aside else 0.012,
        share + (0.014 if over else -0.018),
        f"No skill: {100 * share:.3g}% are positive",
        fontsize=11.5,
        color=style.INK,
        ha="right" if aside else "left",
        va="bottom" if over else "top",
        zorder=4,
    )
    style.percent_scales(
        axes, "Recall: share of the positives that are found", "Precision: share of the finds that are right"
    )
    return figure


def _place(x: float, y: float, share: float) -> dict[str, Any]:
    """Return where the note at a point goes.

    A curve falls: it is never above and to the right of its point. Where the plot ends there, the note goes under
    the curve; and where that is too low as well, into the corner that a poor curve leaves empty.
    """
    if x < 0.68 and y < 0.75:
        # Above what is written on the line of no skill, where that is near.
        up = max(16.0, 33.0 + 300 * (share - y)) if share - y < 0.3 else 16.0
        return {"xytext": (18, up), "textcoords": "offset points", "ha": "left", "va": "bottom"}
    if _is_under(x, y):
        return {"xytext": (-18, -16), "textcoords": "offset points", "ha": "right", "va": "top"}
    return {"xytext": (0.97, 0.95), "textcoords": "axes fraction", "ha": "right", "va": "top"}


def _is_under(x: float, y: float) -> bool:
    return (x >= 0.68 or y >= 0.75) and y > 0.4 and x > 0.3
