"""Feature importance from both sides: what the trees gained by a feature, and what it moves in the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainer.plots.importance_values import Importance

SHOWN = 12


def feature_importance(importance: Importance, heading: style.Heading) -> Figure:
    """Return the features that move the scores most, with both measures side by side.

    Args:
        importance: The measures of all features.
        heading: The plot's heading.
    """
    order = np.lexsort((-importance.gain, -importance.contribution))[:SHOWN]
    gain = importance.gain / (importance.gain.sum() or 1.0)
    total = len(importance.names)
    merit = f"{len(order)} of {total:,}" if total > len(order) else f"{total}"
    figure = style.canvas(heading, merit, "features, by contribution" if total > 1 else "feature")
    names = [importance.names[index] for index in order]
    size = 12.0
    names = [style.shortened(name, style.fitting(name, size, 0.36)) for name in names]
    # Names get what they need, and the bars the rest.
    left = min(0.03 + max(style.extent(name, size) for name in names), 0.4)
    middle = left + (style.RIGHT - left) * 0.53
    panels = (
        (left, middle - 0.045, importance.contribution[order], style.BLUE, "{:.3g}",
         f"Contribution to the score\nmean |SHAP|, {importance.rows:,} test rows"),
        (middle, style.RIGHT - 0.045, gain[order], style.GREY, "{:.1%}", "Gain in training\nshare of the total"),
    )  # fmt: skip
    # Nor does what stands below the first panel reach below the second.
    longest = max(len(line) for *_, label in panels for line in label.splitlines())
    below = min(12.0, (middle - left - 0.015) * style.WIDTH * 72 / (longest * 0.55))
    heights = range(len(order))
    for start, end, values, colour, form, label in panels:
        axes = style.axes_in(figure, left=start, right=end, top=0.84)
        style.bars(axes, heights, values, 0.62, colour, alpha=0.85, flat=True)
        reach = float(values.max()) or 1.0
        for height, value in enumerate(values):
            axes.text(value + reach * 0.02, height, form.format(value), fontsize=size - 1, color=style.INK,
                      va="center")  # fmt: skip
        axes.set_xlim(0, reach * 1.1)
        axes.set_ylim(max(len(order), 4) - 0.4, -0.6)
        if start == left:
            style.scale(axes, "left", heights, names, size=size)
        axes.text(0, -0.02, label, transform=axes.transAxes, fontsize=below, color=style.INK, va="top")
    return figure
