"""Feature importance as the trees have it: what splits on a feature saved in training, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainer.plots.importance_values import Importance

SHOWN = 12
SIZE = 12.0


def feature_importance(importance: Importance, heading: style.Heading) -> Figure:
    """Return the features with the largest gain, with both measures side by side.

    Args:
        importance: The measures of all features.
        heading: The plot's heading.
    """
    order = np.lexsort((-importance.splits, -importance.gain))[:SHOWN]
    figure = style.canvas(heading, *style.shown_features(len(order), len(importance.names), "by gain"))
    names, left = style.feature_names([importance.names[index] for index in order], SIZE)
    middle = left + (style.RIGHT - left) * 0.53
    trees = f"{importance.trees:,} tree" + ("s" if importance.trees != 1 else "")
    gain, splits = (
        measure[order] / (measure.sum() or 1) for measure in (importance.gain, importance.splits.astype(np.float64))
    )
    panels = (
        (left, middle - 0.045, gain, style.BLUE, f"Gain in training, share of all\nexact, from all {trees}"),
        (middle, style.RIGHT - 0.045, splits, style.GREY, "Splits, share of all\nexact, no rows sampled"),
    )
    # What stands below the first panel does not reach below the second.
    longest = max(len(line) for *_, label in panels for line in label.splitlines())
    below = min(12.0, (middle - left - 0.015) * style.WIDTH * 72 / (longest * 0.55))
    heights = range(len(order))
    for start, end, values, colour, label in panels:
        axes = style.axes_in(figure, left=start, right=end, top=0.84)
        style.bars(axes, heights, values, 0.62, colour, alpha=0.85, flat=True)
        reach = float(values.max()) or 1.0
        for height, value in enumerate(values):
            axes.text(value + reach * 0.02, height, f"{value:.1%}", fontsize=SIZE - 1, color=style.INK, va="center")
        axes.set_xlim(0, reach * 1.1)
        axes.set_ylim(max(len(order), 4) - 0.4, -0.6)
        if start == left:
            style.scale(axes, "left", heights, names, size=SIZE)
        axes.text(0, -0.02, label, transform=axes.transAxes, fontsize=below, color=style.INK, va="top")
    return figure
