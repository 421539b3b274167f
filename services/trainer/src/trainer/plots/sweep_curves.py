"""The precision-recall curves of a sweep's variants on one sheet."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.selection_metric import metric_name
from trainer.plots import style
from trainer.training.metrics import LEVELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: More curves in colour than this cannot be told apart; the others are drawn in grey.
COLOURED = 6
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, style.SKY, style.AMBER)


@dataclass(frozen=True)
class Curve:
    """One variant: its name, the score it is chosen by, and its precision at each level of recall."""

    name: str
    score: float
    precision: Sequence[float]


def sweep_curves(curves: Sequence[Curve], heading: style.Heading, metric: str = "average_precision") -> Figure:
    """Return the curves of all variants, the best in colour and named in the order of their scores.

    Args:
        curves: At least one variant.
        heading: The plot's heading.
        metric: What the scores are of.
    """
    ranked = sorted(curves, key=lambda curve: -curve.score)
    figure = style.canvas(heading, f"{ranked[0].score:.1%}", f"best {metric_name(metric)}")
    axes = style.axes_in(figure, right=0.68)
    levels = np.linspace(0, 1, LEVELS)
    # The best last, so that it lies on top.
    for place, curve in reversed(list(enumerate(ranked))):
        coloured = place < COLOURED
        axes.plot(
            levels,
            curve.precision,
            color=_COLOURS[place] if coloured else style.GREY,
            linewidth=2.6 if place == 0 else 1.6 if coloured else 0.8,
            alpha=1 if coloured else 0.4,
            zorder=4 if coloured else 3,
        )
    for place, curve in enumerate(ranked[:COLOURED]):
        y = 0.97 - place * 0.115
        weight = "bold" if place == 0 else "normal"
        # A searched value has sixteen digits, of which four tell variants apart.
        name = re.sub(r"\d+\.\d{5,}(?!e)", lambda found: f"{float(found[0]):.4g}", curve.name)
        most = style.fitting(name, 9.5, 0.25, weight)
        lines = textwrap.wrap(name, most)
        if len(lines) > 2:
            lines[1] = lines[1][: most - 1] + "…"
        text = "\n".join([f"{curve.score:.2%}", *lines[:2]])
        axes.plot([1.03, 1.07], [y, y], transform=axes.transAxes, color=_COLOURS[place], linewidth=4, clip_on=False)
        axes.text(1.085, y + 0.02, text, transform=axes.transAxes, fontsize=9.5, fontweight=weight, color=style.INK,
                  va="top", linespacing=1.3, parse_math=False)  # fmt: skip
    if len(ranked) > COLOURED:
        others = ranked[COLOURED:]
        text = f"{len(others)} others, down to {others[-1].score:.2%}"
        axes.text(
            1.03, 0.97 - COLOURED * 0.115, text, transform=axes.transAxes, fontsize=9.5, color=style.GREY, va="top"
        )
    style.percent_scales(axes, "Recall on the validation rows", "Precision on the validation rows")
    return figure
