"""A sweep's parameters against its variants' scores: a heat-map for a grid, else parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.selection_metric import LOWER, merit, metric_name
from trainer.plots import scales, style
from trainer.plots.content import Content

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
) -> Content | None:
    """Return what the parameters that vary show against the score; None where none does.

    Args:
        params: Each variant's complete parameters.
        scores: Each variant's score: its value of the metric.
        heading: The plot's heading.
        metric: What the scores are of.
    """
    names = varying(params)
    if not names:
        return None
    shown = {
        "params": [{name: some.get(name) for name in names} for some in params],
        "scores": [float(score) for score in scores],
        "metric": metric,
    }
    table: dict[str, Sequence[Any]] = {name: [some.get(name) for some in params] for name in names}
    return Content("sweep_parameters", heading, shown, {**table, f"validation_{metric}": list(scores)})


def draw(content: Content) -> Figure:
    """Return the plot: a heat-map for a grid of two parameters, else parallel coordinates."""
    params, metric = content.shown["params"], content.shown["metric"]
    values = varying(params)
    shown = _Shown(metric)
    scores = [merit(metric, score) for score in content.shown["scores"]]
    of = f"best {metric_name(metric)}"
    figure = style.canvas(content.heading, shown(max(scores), 1), of, f"Parameters and {metric_name(metric)}")
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
        return f"{value:,.4g}" if self.metric in LOWER or self.metric == "r2" else f"{value:.{digits}%}"


def _heat_map(
    figure: Figure,
    params: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    values: Mapping[str, list[Any]],
    shown: _Shown,
) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    (across, columns), (down, rows) = values.items()
    low, high = min(scores), max(scores)
    axes = scales.axes_in(figure, left=0.17)
    corners, colours = [], []
    for some, score in zip(params, scores, strict=True):
        x, y = columns.index(some.get(across)), rows.index(some.get(down))
        square = ((-0.48, -0.47), (0.48, -0.47), (0.48, 0.47), (-0.48, 0.47))
        corners.append([(x + right, y + up) for right, up in square])
        # The letters are read on the strongest colour too.
        colours.append(to_rgba(style.BLUE, 0.06 + 0.44 * ((score - low) / (high - low) if high > low else 0.5)))
        weight = "bold" if score == high else "normal"
        axes.text(x, y, shown(float(score)), ha="center", va="center", fontsize=12 if len(columns) <= 8 else 9,
                  fontweight=weight, color=style.INK)  # fmt: skip
    axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0))
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    scales.scale(axes, "bottom", range(len(columns)), [_shown(value) for value in columns], across)
    scales.scale(axes, "left", range(len(rows)), [_shown(value) for value in rows], down)


def _parallel(
    figure: Figure,
    params: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    values: Mapping[str, list[Any]],
    shown: _Shown,
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    names = sorted(values, key=lambda name: -len(values[name]))[:MOST_AXES]
    names = [name for name in values if name in names]
    low, high = min(scores), max(scores)
    places = [_places(values[name]) for name in names]
    lines = []
    for some, score in zip(params, scores, strict=True):
        heights = [place[some.get(name)] for name, place in zip(names, places, strict=True)]
        heights.append((score - low) / (high - low) if high > low else 0.5)
        lines.append(list(enumerate(heights)))
    axes = scales.axes_in(figure, left=0.08, right=0.9)
    # The best last, so that it lies on top.
    order = sorted(range(len(lines)), key=lambda index: scores[index])
    best = order[-1]
    colours = [to_rgba(style.BLUE, 0.3 + 0.5 * lines[index][-1][1]) for index in order]
    axes.add_collection(LineCollection([lines[index] for index in order], colors=colours, linewidths=1.8))
    axes.plot(*zip(*lines[best], strict=True), color=style.ORANGE, linewidth=3.2, marker="o", markersize=8, zorder=4)
    box = {"boxstyle": "round,pad=0.15", "facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.85}
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
    scales.scale(
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
