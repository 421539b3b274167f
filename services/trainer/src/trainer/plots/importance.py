"""The plot of feature importance: the gain of the splits on each feature, and their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import scales, style
from trainer.plots.content import Content
from trainer.plots.long_names import feature_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainer.plots.importance_values import Importance

SHOWN = 12
SIZE = 12.0
#: Where the last text ends, as a share of the figure's width.
_EDGE = 0.99


def feature_importance(importance: Importance, heading: style.Heading) -> Content:
    """Return what the importance of the features shows: those with the largest gain, with both measures side by side.

    Args:
        importance: The measures of all features.
        heading: The plot's heading.
    """
    order = np.lexsort((-importance.splits, -importance.gain))
    drawn = order[:SHOWN]
    gain, splits = (
        measure / (measure.sum() or 1) for measure in (importance.gain, importance.splits.astype(np.float64))
    )
    shown = {
        # A name is drawn with its middle cut out where it is longer than this.
        "names": [style.shortened(importance.names[index], 200) for index in drawn],
        "gain": gain[drawn],
        "splits": splits[drawn],
        "features": len(importance.names),
        "trees": importance.trees,
    }
    table = {
        "feature": [importance.names[index] for index in order],
        "gain": importance.gain[order],
        "gain_share": gain[order],
        "splits": importance.splits[order],
        "split_share": splits[order],
    }
    return Content("feature_importance", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the features with the largest gain, with both measures side by side."""
    shown = content.shown
    count = len(shown["names"])
    height = scales.height_for(count)
    number = style.shown_features(count, shown["features"], "by gain")
    figure = style.canvas(content.heading, *number, "Feature importance", height)
    names, left = feature_names(shown["names"], SIZE)
    middle = left + (style.RIGHT - left) * 0.53
    trees = f"{shown['trees']:,} tree" + ("s" if shown["trees"] != 1 else "")
    panels = (
        (left, middle - 0.045, np.asarray(shown["gain"]), style.BLUE,
         f"Gain in training, share of all\nexact, from all {trees}"),
        (middle, style.RIGHT - 0.045, np.asarray(shown["splits"]), style.GREEN,
         "Splits, share of all\nexact, no rows sampled"),
    )  # fmt: skip
    # What stands below the first panel does not reach below the second.
    lines = [line for *_, label in panels for line in label.splitlines()]
    below = min(style.size_for(line, 12.0, middle - left - 0.035) for line in lines)
    heights = range(count)
    for start, end, values, colour, label in panels:
        axes = scales.rows_in(figure, start, end, count)
        scales.bars(axes, heights, values, 0.62, colour, alpha=0.85, flat=True)
        room = (middle - 0.01 if start == left else _EDGE) - start
        scales.beside_bars(axes, values.tolist(), [f"{value:.1%}" for value in values], SIZE - 1, room)
        if start == left:
            scales.scale(axes, "left", heights, names, size=SIZE)
        scales.below(axes, label, below)
    return figure
