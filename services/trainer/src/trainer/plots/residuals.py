"""The plots of a regression: predictions against the truth, and the errors along the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.plots import learning_curve, notes, scales, style
from trainer.plots.content import Content

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
) -> Content:
    """Return what predictions against the truth show.

    Args:
        target: (rows,) what is true.
        predicted: (rows,) predictions.
        metrics: The metrics of these rows.
        heading: The plot's heading.
    """
    drawn = _drawn_rows(target)
    shown = {
        "actual": target[drawn],
        "predicted": predicted[drawn],
        "bounds": [float(min(target.min(), predicted.min())), float(max(target.max(), predicted.max()))],
        "rows": len(target),
        "r2": float(metrics["r2"]),
    }
    return Content("predicted_actual", heading, shown, {"actual": target[drawn], "predicted": predicted[drawn]})


def draw_predicted_actual(content: Content) -> Figure:
    """Return predictions against the truth."""
    shown = content.shown
    of = "R2 (1 is perfect, 0 is the mean)"
    figure = style.canvas(content.heading, f"{shown['r2']:z.3f}", of, "Predicted and actual")
    axes = scales.axes_in(figure)
    low, high = shown["bounds"]
    edge = 0.03 * (high - low) or 1.0
    low, high = low - edge, high + edge
    actual, predicted = np.asarray(shown["actual"]), np.asarray(shown["predicted"])
    _dots(axes, actual, predicted)
    axes.plot([low, high], [low, high], color=style.ORANGE, linewidth=1.5, linestyle=(0, (5, 3)), zorder=4)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    _legend(axes, len(actual), shown["rows"], "- -  Perfect", (actual, predicted))
    scales.round_scale(axes, "bottom", low, high, "Actual")
    scales.round_scale(axes, "left", low, high, "Predicted")
    scales.baseline(axes)
    return figure


def residuals(
    target: NDArray[np.float64], predicted: NDArray[np.float64], metrics: Mapping[str, float], heading: style.Heading
) -> Content:
    """Return what the errors along the predictions show; it takes what ``predicted_actual`` takes."""
    error = predicted - target
    drawn = _drawn_rows(error)
    middles, quantiles = error_band(predicted, error)
    shown = {
        "predicted": predicted[drawn],
        "error": error[drawn],
        "middles": middles,
        "quantiles": quantiles,
        "across": [float(predicted.min()), float(predicted.max())],
        "upward": [min(float(error.min()), 0.0), max(float(error.max()), 0.0)],
        "rows": len(target),
        "rmse": float(metrics["rmse"]),
    }
    none = [""] * len(drawn)
    table = {
        "of": ["row"] * len(drawn) + ["range"] * len(middles),
        "predicted": [*predicted[drawn].tolist(), *middles.tolist()],
        "error": [*error[drawn].tolist(), *quantiles[:, 1].tolist()],
        "error_p05": [*none, *quantiles[:, 0].tolist()],
        "error_p95": [*none, *quantiles[:, 2].tolist()],
    }
    return Content("residuals", heading, shown, table)


def draw_residuals(content: Content) -> Figure:
    """Return the errors along the predictions, with their quantiles."""
    shown = content.shown
    figure = style.canvas(content.heading, learning_curve.number(shown["rmse"]), "RMSE", "Errors along the predictions")
    axes = scales.axes_in(figure)
    predicted, error = np.asarray(shown["predicted"]), np.asarray(shown["error"])
    _dots(axes, predicted, error)
    axes.axhline(0, color=style.ORANGE, linewidth=1.5, linestyle=(0, (5, 3)), zorder=4)
    middles, quantiles = np.asarray(shown["middles"]), np.asarray(shown["quantiles"])
    if len(middles) > 1:
        axes.fill_between(middles, quantiles[:, 0], quantiles[:, 2], color=style.SKY, alpha=0.35, linewidth=0, zorder=3)
        axes.plot(middles, quantiles[:, 1], color=style.BLUE, linewidth=2.4, zorder=5)
    (low, high), (lowest, highest) = shown["across"], shown["upward"]
    # Of a lone prediction, a range in which a scale can be read.
    edge, margin = 0.03 * (high - low) or 0.1 * abs(high) or 1.0, 0.05 * (highest - lowest) or 1.0
    axes.set_xlim(low - edge, high + edge)
    axes.set_ylim(lowest - margin, highest + margin)
    text = "Line: median error; band: 5 % to 95 % of the rows" if len(middles) > 1 else "- -  No error"
    _legend(axes, len(error), shown["rows"], text, (predicted, error))
    scales.round_scale(axes, "bottom", low - edge, high + edge, "Predicted")
    scales.round_scale(axes, "left", lowest - margin, highest + margin, "Error: predicted minus actual")
    scales.baseline(axes)
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


def _legend(axes: Axes, drawn: int, rows: int, text: str, dots: notes.Line) -> None:
    note = "a dot a row" if drawn == rows else f"{drawn:,} of {rows:,} rows drawn"
    notes.corner_text(axes, f"{text}\n{note}", dots, size=11.5)
