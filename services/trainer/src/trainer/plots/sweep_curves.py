"""The precision-recall curves of a sweep's variants on one sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.selection_metric import metric_name
from trainer.plots import notes, scales, style
from trainer.plots.content import Content
from trainer.training.metrics import LEVELS
from trainer.util.text import short_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: More curves in colour than this cannot be told apart; the others are drawn in grey.
COLOURED = len(style.LINES)
#: Curves that are drawn; of hundreds, grey on grey, nobody sees one more.
DRAWN = 60


@dataclass(frozen=True)
class Curve:
    """One variant: its name, the score it is chosen by, and its precision at each level of recall."""

    name: str
    score: float
    precision: Sequence[float]


def sweep_curves(curves: Sequence[Curve], heading: style.Heading, metric: str = "average_precision") -> Content:
    """Return what the curves of all variants show, the best in colour and named in the order of their scores.

    Args:
        curves: At least one variant.
        heading: The plot's heading.
        metric: What the scores are of.
    """
    ranked = sorted(curves, key=lambda curve: -curve.score)
    shown = {
        "curves": [np.round(curve.precision, 4).tolist() for curve in ranked[:DRAWN]],
        "scores": [float(curve.score) for curve in ranked],
        "names": [style.shortened(curve.name, 300) for curve in ranked[:COLOURED]],
        "metric": metric,
    }
    levels = np.round(np.linspace(0, 1, LEVELS), 4).tolist()
    table = {
        "variant": [curve.name for curve in ranked for _ in levels],
        "recall": levels * len(ranked),
        "precision": [value for curve in ranked for value in curve.precision],
    }
    return Content("sweep_curves", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the curves."""
    shown = content.shown
    scores = shown["scores"]
    of = f"best {metric_name(shown['metric'])}"
    figure = style.canvas(content.heading, f"{scores[0]:.1%}", of, "Precision and recall")
    axes = scales.axes_in(figure, right=0.68)
    levels = np.linspace(0, 1, LEVELS)
    # The best last, so that it lies on top.
    for place, precision in reversed(list(enumerate(shown["curves"]))):
        coloured = place < COLOURED
        colour, dashes = style.LINES[place] if coloured else (style.GREY, "solid")
        axes.plot(
            levels,
            precision,
            color=colour,
            linestyle=dashes,
            linewidth=2.6 if place == 0 else 1.6 if coloured else 0.8,
            alpha=1 if coloured else 0.4,
            zorder=4 if coloured else 3,
        )
    size, entries = 9.5, []
    for place, (score, long_name) in enumerate(zip(scores, shown["names"], strict=False)):
        weight = "bold" if place == 0 else "normal"
        # A searched value has sixteen digits, of which four tell variants apart.
        name = short_numbers(long_name)
        most = style.fitting(name, size, 0.25, weight)
        lines = textwrap.wrap(name, most)
        if len(lines) > 2:
            lines[1] = lines[1][: most - 1] + "…"
        entries.append(notes.Entry((f"{score:.2%}", *lines[:2]), *style.LINES[place], weight))
    others = scores[len(entries) :]
    more = f"{len(others)} others, down to {others[-1]:.2%}" if others else ""
    notes.legend(axes, 1.03, entries, more, size=size)
    scales.percent_scales(axes, "Recall on the validation rows", "Precision on the validation rows")
    return figure
