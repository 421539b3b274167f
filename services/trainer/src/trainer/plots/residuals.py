"""The plots of a regression: predictions against the truth, and the errors along the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Rows that are drawn; more dots hide each other.
DRAWN = 3_000
#: Ranges of predictions, with as many rows in each, of which the quantiles of the error are drawn.
BINS, _FEWEST = 20, 10


def predicted_actual(
    target: NDArray[np.float64], predicted: NDArray[np.float64], metrics: Mapping[str, float], heading: style.Heading
) -> Figure:
    """Return predictions against the truth.

    Args:
        target: (rows,) what is true.
        predicted: (rows,) predictions.
        metrics: The metrics of these rows.
        heading: The plot's heading.
    """
    figure = style.canvas(heading, f"{metrics['r2']:.3f}", "R2 (1 is perfect, 0 is the mean)")
    axes = style.axes_in(figure)
    low, high = float(min(target.min(), predicted.min())), float(max(target.max(), predicted.max()))
    edge = 0.03 * (high - low) or 1.0
    low, high = low - edge, high + edge
    drawn = _drawn_rows(target)
    _dots(axes, target[drawn], predicted[drawn])
    axes.plot([low, high], [low, high], color=style.ORANGE, linewidth=1.5, linestyle=(0, (5, 3)), zorder=4)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    _legend(axes, len(drawn), len(target), "- -  Perfect")
    style.round_scale(axes, "bottom", low, high, "Actual")
    style.round_scale(axes, "left", low, high, "Predicted")
    style.baseline(axes)
    return figure


def residuals(
    target: NDArray[np.float64], predicted: NDArray[np.float64], metrics: Mapping[str, float], heading: style.Heading
) -> Figure:
    """Return the errors along the predictions, with their quantiles; it takes what ``predicted_actual`` takes."""
    figure = style.canvas(heading, f"{metrics['rmse']:,.4g}", "RMSE")
    axes = style.axes_in(figure)
    error = predicted - target
    drawn = _drawn_rows(error)
    _dots(axes, predicted[drawn], error[drawn])
    axes.axhline(0, color=style.ORANGE, linewidth=1.5, linestyle=(0, (5, 3)), zorder=4)
    middles, quantiles = error_band(predicted, error)
    if len(middles) > 1:
        axes.fill_between(middles, quantiles[:, 0], quantiles[:, 2], color=style.SKY, alpha=0.35, linewidth=0, zorder=3)
        axes.plot(middles, quantiles[:, 1], color=style.BLUE, linewidth=2.4, zorder=5)
    edge = 0.03 * float(np.ptp(predicted)) or 1.0
    low, high = float(predicted.min()) - edge, float(predicted.max()) + edge
    lowest, highest = min(float(error.min()), 0.0), max(float(error.max()), 0.0)
    margin = 0.05 * (highest - lowest) or 1.0
    axes.set_xlim(low, high)
    axes.set_ylim(lowest - margin, highest + margin)
    _legend(axes, len(drawn), len(target), "Line: median error; band: 5 % to 95 % of the rows")
    style.round_scale(axes, "bottom", low, high, "Predicted")
    style.round_scale(axes, "left", lowest - margin, highest + margin, "Error: predicted minus actual")
    style.baseline(axes)
    return figure


def error_band(
    predicted: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ranges of rows: their mean predictions, and (ranges, 3) the 5 %, 50 % and 95 % quantiles of the errors."""
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, max(min(BINS, len(order) // _FEWEST), 1))
    middles = np.array([predicted[part].mean() for part in parts])
    return middles, np.array([np.quantile(error[part], (0.05, 0.5, 0.95)) for part in parts])


def _drawn_rows(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows to draw: those at the ends, and others spread evenly over the values."""
    order = np.argsort(values, kind="stable")
    return order[np.unique(np.linspace(0, len(order) - 1, min(len(order), DRAWN)).astype(np.int64))]


def _dots(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    axes.scatter(x, y, s=9, c=style.BLUE, alpha=0.35, linewidths=0, zorder=2)


def _legend(axes: Axes, drawn: int, rows: int, text: str) -> None:
    dots = "a dot a row" if drawn == rows else f"{drawn:,} of {rows:,} rows drawn"
    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    axes.text(0.015, 0.985, f"{text}\n{dots}", transform=axes.transAxes, fontsize=11.5, color=style.INK, va="top",
              linespacing=1.5, zorder=6, bbox=box)  # fmt: skip
