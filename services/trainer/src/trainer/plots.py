"""Draws the pictures of a run. Uses matplotlib's objects: pyplot would cost import time, memory and global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colours stay apart for the colour-blind, and in grey.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6B7280"
INK, PALE = "#1F2937", "#E5E7EB"

WIDTH, HEIGHT, DPI = 8.0, 6.0, 150


def pr_curve(
    path: Path,
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    figures: dict[str, float],
    title: str,
    subtitle: str = "",
) -> None:
    """Write a precision-recall curve as a PNG file of 1200 by 900 pixels.

    Args:
        path: The file to write.
        target: (rows,) classes, 0 and 1.
        probability: (rows,) scores of the positive class.
        threshold: The chosen threshold; its point is marked.
        figures: The figures at that threshold, of ``metrics.evaluate``.
        title: The picture's heading, such as the variant's name.
        subtitle: A second, smaller line, such as the data's name and rows.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(target, probability)
    share = float(np.mean(target))
    figure, axes = _canvas(title, subtitle, f"{figures['average_precision']:.1%}", "average precision")
    # Precision at a recall holds until the next row is reached: steps, as average precision sums them.
    axes.fill_between(recall, precision, step="post", color=BLUE, alpha=0.09, linewidth=0)
    axes.step(recall, precision, where="post", color=BLUE, linewidth=2.4, solid_joinstyle="round", zorder=3)
    axes.axhline(share, color=GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    axes.text(
        0.012,
        share + (0.014 if share < 0.9 else -0.018),
        f"No skill: {share:.1%} of the rows are positive",
        fontsize=11.5,
        color=INK,
        va="bottom" if share < 0.9 else "top",
        zorder=4,
    )
    _mark_threshold(axes, figures, threshold)
    axes.set_xlabel("Recall: share of the positives that are found", labelpad=8)
    axes.set_ylabel("Precision: share of the finds that are right", labelpad=8)
    _percent_axes(axes)
    _save(figure, path)


def _mark_threshold(axes: Axes, figures: dict[str, float], threshold: float) -> None:
    x, y = figures["recall"], figures["precision"]
    axes.plot([x, x, 0], [0, y, y], color=ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    axes.plot([x], [y], marker="o", markersize=11, color=ORANGE, markeredgecolor="white", markeredgewidth=2, zorder=5)
    # A curve falls: it is never above and to the right of its point. Where the picture ends there, the note goes under
    # the curve; and where that is too low as well, into the corner that a poor curve leaves empty.
    place: dict[str, Any]
    if x < 0.68 and y < 0.75:
        place = {"xytext": (18, 16), "textcoords": "offset points", "ha": "left", "va": "bottom"}
    elif y > 0.4 and x > 0.3:
        place = {"xytext": (-18, -16), "textcoords": "offset points", "ha": "right", "va": "top"}
    else:
        place = {"xytext": (0.97, 0.95), "textcoords": "axes fraction", "ha": "right", "va": "top"}
    axes.annotate(
        f"Threshold {threshold:.3g}\nPrecision {y:.1%}\nRecall {x:.1%}\nF1 {figures['f1']:.1%}",
        (x, y),
        fontsize=12.5,
        linespacing=1.4,
        color=INK,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": ORANGE, "linewidth": 1.3, "alpha": 0.96},
        arrowprops={"arrowstyle": "-", "color": ORANGE, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 6},
        zorder=6,
        **place,
    )


def _canvas(title: str, subtitle: str, figure_of_merit: str, its_name: str) -> tuple[Figure, Axes]:
    """Return a figure with a heading, one prominent figure at its right, and axes with a light grid."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, right = 0.125, 0.955
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left, 0.125, right - left, 0.725))
    # A long heading gets smaller, to stay clear of the figure at its right.
    title = title if len(title) <= 80 else title[:79] + "…"
    size = min(17.0, 17.0 * 36 / max(len(title), 1))
    lines: tuple[tuple[str, float, float, str, dict[str, Any]], ...] = (
        (title, left, 0.944, "left", {"fontsize": size, "fontweight": "bold", "color": INK}),
        (subtitle, left, 0.893, "left", {"fontsize": 12, "color": GREY}),
        (figure_of_merit, right, 0.944, "right", {"fontsize": 20, "fontweight": "bold", "color": BLUE}),
        (its_name, right, 0.893, "right", {"fontsize": 12, "color": GREY}),
    )
    for text, x, y, align, style in lines:
        # Dollar signs in a column's or a file's name are not mathematics.
        figure.text(x, y, text, ha=align, va="center", parse_math=False, **style)
    axes.tick_params(labelsize=12, colors=INK, length=0, pad=7)
    axes.xaxis.label.set(fontsize=13, color=INK)
    axes.yaxis.label.set(fontsize=13, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.grid(color=PALE, linewidth=1)
    axes.set_axisbelow(True)
    return figure, axes


def _percent_axes(axes: Axes) -> None:
    from matplotlib.ticker import MultipleLocator, PercentFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(0.2))
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the metadata the same curve gives the same file.
    figure.savefig(path, format="png", metadata={"Software": None})
