"""A sweep's parameters against its variants' scores: a heat-map for a grid, else parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.selection_metric import LOWER, merit, metric_name
from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: More parameters than this are not legible side by side; those that vary in most values are shown.
MOST_AXES = 7
MOST_CELLS = 12


def varying(params: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the parameters that differ between variants, each with its sorted values."""
    found: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for some in params for name in some):
        values = {some.get(name) for some in params}
        if len(values) > 1:
            plain = all(isinstance(value, (int, float)) for value in values)
            found[name] = sorted(values) if plain else sorted(values, key=_shown)
    return found


def sweep_parameters(
    params: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    heading: style.Heading,
    metric: str = "average_precision",
) -> Figure | None:
    """Return a plot of the parameters that vary against the score; None where none does.

    Args:
        params: Each variant's complete parameters.
        scores: Each variant's score: its value of the metric.
        heading: The plot's heading.
        metric: What the scores are of.
    """
    values = varying(params)
    if not values:
        return None
    shown = _Shown(metric)
    scores = [merit(metric, score) for score in scores]
    figure = style.canvas(heading, shown(max(scores), 1), f"best {metric_name(metric)}")
    if len(values) == 2:
        cells = {tuple(some.get(name) for name in values) for some in params}
        sizes = [len(levels) for levels in values.values()]
        # A few variants on a diagonal make no map.
        if len(cells) == len(params) and max(sizes) <= MOST_CELLS and len(cells) > 0.6 * sizes[0] * sizes[1]:
            _heat_map(figure, params, scores, values, shown)
            return figure
    _parallel(figure, params, scores, values, shown)
    return figure


@dataclass(frozen=True)
class _Shown:
    """How scores of a metric are written, which were turned so that more is better: as shares, or in their own size."""

    metric: str

    def __call__(self, score: float, digits: int = 2) -> str:
        value = merit(self.metric, score)
        return f"{value:.{digits}%}" if self.metric not in LOWER else f"{value:,.4g}"


def _heat_map(
    figure: Figure,
    params: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    values: Mapping[str, list[Any]],
    shown: _Shown,
) -> None:
    (across, columns), (down, rows) = values.items()
    table = np.full((len(rows), len(columns)), np.nan)
    for some, score in zip(params, scores, strict=True):
        table[rows.index(some.get(down)), columns.index(some.get(across))] = score
    axes = style.axes_in(figure, left=0.17)
    axes.imshow(table, aspect="auto", cmap="cividis", interpolation="nearest", origin="lower")
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    for (y, x), score in np.ndenumerate(table):
        if np.isfinite(score):
            # White on the dark half of the colours, ink on the light one.
            light = high > low and score > (low + high) / 2
            weight = "bold" if score == high else "normal"
            axes.text(x, y, shown(float(score)), ha="center", va="center", fontsize=12 if len(columns) <= 8 else 9,
                      fontweight=weight, color=style.INK if light else "white")  # fmt: skip
    style.scale(axes, "bottom", range(len(columns)), [_shown(value) for value in columns], across)
    style.scale(axes, "left", range(len(rows)), [_shown(value) for value in rows], down)


def _parallel(
    figure: Figure,
    params: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    values: Mapping[str, list[Any]],
    shown: _Shown,
) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    names = sorted(values, key=lambda name: -len(values[name]))[:MOST_AXES]
    names = [name for name in values if name in names]
    low, high = min(scores), max(scores)
    places = [_places(values[name]) for name in names]
    lines = []
    for some, score in zip(params, scores, strict=True):
        heights = [place[some.get(name)] for name, place in zip(names, places, strict=True)]
        heights.append((score - low) / (high - low) if high > low else 0.5)
        lines.append(list(enumerate(heights)))
    axes = style.axes_in(figure, left=0.08, right=0.9)
    # The best last, so that it lies on top.
    order = sorted(range(len(lines)), key=lambda index: scores[index])
    best = order[-1]
    colours = [colormaps["cividis"](lines[index][-1][1] * 0.9) for index in order]
    axes.add_collection(LineCollection([lines[index] for index in order], colors=colours, linewidths=1.8, alpha=0.8))
    axes.plot(*zip(*lines[best], strict=True), color=style.ORANGE, linewidth=3.2, marker="o", markersize=8, zorder=4)
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    for x, (name, place) in enumerate(zip(names, places, strict=True)):
        axes.axvline(x, color=style.GREY, linewidth=1.2, zorder=1)
        for value in _labelled(values[name], place):
            axes.text(x + 0.03, place[value], _shown(value), fontsize=10.5, color=style.INK, va="center", bbox=box,
                      zorder=5)  # fmt: skip
    axes.axvline(len(names), color=style.GREY, linewidth=1.2, zorder=1)
    for height in (0.0, 0.5, 1.0) if high > low else (0.5,):
        score = low + height * (high - low) if high > low else low
        axes.text(len(names) + 0.03, height, shown(score), fontsize=10.5, color=style.INK, va="center", zorder=5)
    omitted = len(values) - len(names)
    labels = [style.shortened(name, 18) for name in names]
    size = 12 if len(names) <= 4 else 10
    # Neighbours stand at different heights where they would touch.
    labels = [("\n" if len(names) > 4 and x % 2 else "") + label for x, label in enumerate(labels)]
    title = f"{omitted} more parameter{'s vary' if omitted > 1 else ' varies'}" if omitted else ""
    style.scale(
        axes, "bottom", range(len(names) + 1), [*labels, metric_name(shown.metric).replace(" ", "\n")], title, size=size
    )
    axes.set_xlim(-0.1, len(names) + 0.1)
    axes.set_ylim(-0.05, 1.05)


def _places(values: Sequence[Any]) -> dict[Any, float]:
    """Return each value's height from 0 to 1: to scale for numbers (logarithmic over decades), else evenly spread."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
            numbers = np.log(numbers)
        numbers = (numbers - numbers.min()) / (numbers.max() - numbers.min())
        return dict(zip(values, numbers.tolist(), strict=True))
    return {value: place / (len(values) - 1) for place, value in enumerate(values)}


def _labelled(values: Sequence[Any], places: Mapping[Any, float]) -> list[Any]:
    """Return the values that get a label: the ends, and what keeps clear of its neighbours."""
    chosen = [values[0]]
    # Of many values a few are enough to read the scale.
    apart = 0.06 if len(values) <= 8 else 0.22
    for value in values[1:-1]:
        if places[value] - places[chosen[-1]] >= apart and 1 - places[value] >= apart:
            chosen.append(value)
    return [*chosen, values[-1]]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
