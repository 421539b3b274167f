"""The calibration plot: what share of the rows with a score turn out positive, and how many rows that rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import notes, scales, style
from trainer.plots.content import Content

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


def calibration_curve(target: NDArray[np.int64], probability: NDArray[np.float64], heading: style.Heading) -> Content:
    """Return what the calibration plot (a reliability diagram) shows.

    Args:
        target: (rows,) classes, 0 and 1.
        probability: (rows,) scores of the positive class.
        heading: The plot's heading.
    """
    found = calibration(target, probability)
    shown = {name: getattr(found, name) for name in ("score", "share", "low", "high", "counts", "gap")}
    filled = np.flatnonzero(found.counts)

    def spread(values: NDArray[np.float64]) -> list[float | str]:
        """Return a value for each range; an empty one has none."""
        by_range: dict[int, float] = dict(zip(filled.tolist(), values.tolist(), strict=True))
        return [by_range.get(place, "") for place in range(BINS)]

    table = {
        "score_from": [place / BINS for place in range(BINS)],
        "score_to": [(place + 1) / BINS for place in range(BINS)],
        "rows": found.counts,
        "mean_score": spread(found.score),
        "positive_share": spread(found.share),
        "share_low": spread(found.low),
        "share_high": spread(found.high),
    }
    return Content("calibration", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the plot, above the number of rows in each range of scores."""
    score, share, low, high, counts = (
        np.asarray(content.shown[name]) for name in ("score", "share", "low", "high", "counts")
    )
    figure = style.canvas(content.heading, f"{content.shown['gap']:.1%}", "mean calibration gap", "Calibration")
    axes = scales.axes_in(figure, bottom=0.33)
    scales.percent_scales(axes, "", "Positive in fact")
    diagonal = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    axes.plot(*diagonal, color=style.GREY, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    axes.vlines(score, low, high, color=style.BLUE, linewidth=5, alpha=0.25, zorder=3)
    axes.plot(score, share, color=style.BLUE, linewidth=2.4, marker="o", markersize=9,
              markeredgecolor=style.PAPER, markeredgewidth=1.5, zorder=4, clip_on=False)  # fmt: skip
    legend = "- -  Perfect: scores are shares\nBand: 95% confidence"
    curves = [
        (score, share),
        diagonal,
        *((np.array([x, x]), np.array([a, b])) for x, a, b in zip(score, low, high, strict=True)),
    ]
    notes.free_text(axes, legend, curves, size=11.5)
    strip = scales.axes_in(figure, top=0.285)
    middles = (np.arange(BINS) + 0.5) / BINS
    scales.bars(strip, middles, counts, 0.86 / BINS, style.BLUE, alpha=0.45)
    highest = int(counts.max())
    size = 11.5 if highest < 100_000 else 8.5
    for x, count in zip(middles, counts, strict=True):
        strip.text(x, count + highest * 0.04, f"{count:,}", fontsize=size, color=style.INK, ha="center")
    strip.set_xlim(0, 1)
    strip.set_ylim(0, highest * 1.3)
    shares = [f"{place:.0%}" for place in style.PERCENT]
    scales.scale(strip, "bottom", style.PERCENT, shares, "Score: probability that the model gives")
    scales.scale(strip, "left", [], [], "Rows")
    scales.baseline(strip)
    return figure
