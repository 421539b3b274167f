"""The calibration plot: what share of the rows with a score turn out positive, and how many rows that rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Rows grouped by score into ``BINS`` ranges of equal width; arrays hold the ranges that have rows, but ``counts``.

    ``score`` and ``share`` are (filled,): mean score and share of positives; ``low`` and ``high`` bound that share with
    95 % confidence. ``counts`` is (BINS,), empty ranges included. ``gap`` is the mean distance between score and share
    over all rows (expected calibration error).
    """

    score: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    counts: NDArray[np.int64]
    gap: float


def calibration(target: NDArray[np.int64], probability: NDArray[np.float64]) -> Calibration:
    """Return how scores and outcomes agree, range by range."""
    bins = np.clip((probability * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    n = counts[filled]
    score = np.bincount(bins, weights=probability, minlength=BINS)[filled] / n
    share = np.bincount(bins, weights=target, minlength=BINS)[filled] / n
    # Wilson's interval holds for few rows, and for shares of 0 and 1.
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    gap = float(np.sum(n * np.abs(score - share)) / np.sum(n))
    return Calibration(score, share, np.maximum(middle - reach, 0), np.minimum(middle + reach, 1), counts, gap)


def calibration_curve(target: NDArray[np.int64], probability: NDArray[np.float64], heading: style.Heading) -> Figure:
    """Return the calibration plot (a reliability diagram) above the number of rows in each range of scores.

    Args:
        target: (rows,) classes, 0 and 1.
        probability: (rows,) scores of the positive class.
        heading: The plot's heading.
    """
    found = calibration(target, probability)
    figure = style.canvas(heading, f"{found.gap:.1%}", "mean calibration gap")
    axes = style.axes_in(figure, bottom=0.33)
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    axes.vlines(found.score, found.low, found.high, color=style.BLUE, linewidth=5, alpha=0.25, zorder=3)
    axes.plot(found.score, found.share, color=style.BLUE, linewidth=2.4, marker="o", markersize=9,
              markeredgecolor="white", markeredgewidth=1.5, zorder=4, clip_on=False)  # fmt: skip
    legend = "- -  Perfect: scores are shares\nBand: 95% confidence"
    axes.text(0.012, 0.985, legend, fontsize=11.5, color=style.INK, va="top", linespacing=1.5, zorder=4)
    style.percent_scales(axes, "", "Positive in fact")
    strip = style.axes_in(figure, top=0.285)
    middles = (np.arange(BINS) + 0.5) / BINS
    style.bars(strip, middles, found.counts, 0.86 / BINS, style.BLUE, alpha=0.45)
    highest = int(found.counts.max())
    size = 11.5 if highest < 100_000 else 8.5
    for x, count in zip(middles, found.counts, strict=True):
        strip.text(x, count + highest * 0.04, f"{count:,}", fontsize=size, color=style.INK, ha="center")
    strip.set_xlim(0, 1)
    strip.set_ylim(0, highest * 1.3)
    shares = [f"{place:.0%}" for place in style.PERCENT]
    style.scale(strip, "bottom", style.PERCENT, shares, "Score: probability that the model gives")
    style.scale(strip, "left", [], [], "Rows")
    style.baseline(strip)
    return figure
