"""The beeswarm plot of contributions: a dot for each row and feature, beside each feature's share and its margin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import TaskName
from trainer.plots import scales, style
from trainer.plots.content import Content
from trainer.plots.contribution_values import Contributions, measure_contributions
from trainer.plots.long_names import feature_names
from trainer.plots.themes import STEPS, light

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from trainer.data.dataset import Dataset
    from trainer.training.fit import FitResult

SHOWN = 12
#: Rows that are drawn; more dots hide each other.
DRAWN = 2_000
SIZE = 12.0
_BINS = 100
#: The size of the letters below a panel (points): of four lines, and of two at the most.
_CAPTION = 8.0, 10.5
#: How far texts of two panels stay apart, and where the last one ends (shares of the figure's width).
_APART, _EDGE = 0.03, 0.99
#: How far the fullest place of a swarm reaches.
_REACH = 0.4


def measured_contributions(folder: Path, name: str, dataset: Dataset, fitted: FitResult, rows: int) -> Content:
    """Write the contributions of a fitted variant's features on test rows as a table, and return what their plot shows.

    Args:
        folder: Where ``contributions.csv`` goes.
        name: The variant's name.
        dataset: What it was trained on.
        fitted: The fitted variant.
        rows: For how many test rows.
    """
    import pandas as pd

    found = measure_contributions(fitted.pipeline, dataset.test.rows_at, fitted.scores, rows)
    features = dataset.test.rows_at(found.rows)
    table = {
        "row": found.rows,
        "target": _named(dataset, dataset.test.target[found.rows]),
        **_SAID[dataset.task](dataset, fitted.scores[found.rows]),
        "base": np.broadcast_to(found.base, len(found.rows)),
    }
    for column, values in zip(found.names, found.values.T, strict=True):
        table[f"value_{column}"] = features[column].to_numpy()
        table[f"shap_{column}"] = values
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_csv(folder / "contributions.csv", index=False)
    heading = style.Heading(name, f"{dataset.name}, {dataset.test.rows:,} test rows")
    return contributions(found, heading, dataset.columns("text"), _UNITS[dataset.task])


def _named(dataset: Dataset, target: NDArray[Any]) -> NDArray[Any]:
    """Return targets as the model answers: several classes by their names."""
    return np.array(dataset.classes)[target] if dataset.task == "multiclass" else target


def _called(dataset: Dataset, scores: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {"class": _named(dataset, scores.argmax(axis=1)), "probability": scores.max(axis=1)}


#: What the table has of the model's scores, and what contributions are in.
_SAID: Mapping[TaskName, Callable[[Dataset, NDArray[Any]], dict[str, NDArray[Any]]]] = {
    "binary": lambda _dataset, scores: {"probability": scores},
    "multiclass": _called,
    "regression": lambda _dataset, scores: {"prediction": scores},
}
_UNITS: Mapping[TaskName, str] = {
    "binary": "log-odds",
    "multiclass": "score of the called class,",
    "regression": "in the target's unit,",
}


def contributions(
    found: Contributions, heading: style.Heading, unordered: Collection[str] = (), unit: str = "log-odds"
) -> Content:
    """Return what a beeswarm of the features with the largest mean contribution shows.

    Args:
        found: The contributions of all features.
        heading: The plot's heading.
        unordered: Features whose values have no order, which a colour could show.
        unit: What the contributions are in.
    """
    mean, margin = found.mean, found.margin
    every = np.argsort(-mean, kind="stable")
    order = every[:SHOWN]
    drawn = np.linspace(0, len(found.rows) - 1, min(len(found.rows), DRAWN)).astype(np.int64)
    all_of_it = float(mean.sum()) or 1.0
    steps = [_steps(found.encoded[drawn, index], ordered=found.names[index] not in unordered) for index in order]
    shown = {
        "names": [style.shortened(found.names[index], 200) for index in order],
        "features": len(found.names),
        "share": mean[order] / all_of_it,
        "margin": margin[order] / all_of_it,
        "values": [_digits(found.values[drawn, index]) for index in order],
        "steps": [step.tolist() for step in steps],
        "reach": [min(float(found.values[:, order].min()), 0.0), max(float(found.values[:, order].max()), 0.0)],
        "rows": len(found.rows),
        "total": found.total,
        "unit": unit,
    }
    table = {
        "feature": [found.names[index] for index in every],
        "mean_abs_shap": mean[every],
        "share": mean[every] / all_of_it,
        "share_margin_95": margin[every] / all_of_it,
    }
    return Content("contributions", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the beeswarm, beside the features' mean contributions."""
    from matplotlib.colors import to_rgb

    shown = content.shown
    count = len(shown["names"])
    number = style.shown_features(count, shown["features"], "by contribution")
    figure = style.canvas(content.heading, *number, "Contributions", scales.height_for(count))
    names, left = feature_names(shown["names"], SIZE)
    middle = left + (style.RIGHT - left) * 0.62
    heights = range(count)
    swarm = scales.rows_in(figure, left, middle - 0.03, count)
    # The last is the colour of what has no order.
    palette = np.array([to_rgb(colour) for colour in (*(light(f"step{step}") for step in range(STEPS)), style.GREY)])
    drawn = 0
    for height, values, steps in zip(heights, shown["values"], shown["steps"], strict=True):
        values, drawn = np.asarray(values, dtype=np.float64), len(values)
        colours = palette[np.asarray(steps)]
        swarm.scatter(values, height + _offsets(values), s=7, c=colours, alpha=0.8, linewidths=0, zorder=3)
    low, high = shown["reach"]
    edge = (high - low) * 0.03 or 1.0
    swarm.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
    swarm.set_xlim(low - edge, high + edge)
    swarm.set_ylim(count - 0.5, -0.5)
    scales.scale(swarm, "left", heights, names, size=SIZE)
    bars = scales.rows_in(figure, middle, style.RIGHT - 0.045, count)
    share, sure = np.asarray(shown["share"]), np.asarray(shown["margin"])
    scales.bars(bars, heights, share, 0.62, style.BLUE, alpha=0.85, flat=True)
    texts = [f"{value:.1%}" + (f" ±{its * 100:.1f}" if its else "") for value, its in zip(share, sure, strict=True)]
    scales.beside_bars(bars, (share + sure).tolist(), texts, SIZE - 2, _EDGE - middle)
    bars.hlines(heights, share - sure, share + sure, color=style.INK, linewidth=1.5, zorder=4)
    bars.set_ylim(count - 0.5, -0.5)
    rows, total = shown["rows"], shown["total"]
    which = f"exact for all {total:,} test rows" if rows == total else f"{rows:,} of {total:,} test rows, ± 95%"
    dots = "a dot a row" if drawn == rows else f"{drawn:,} rows drawn"
    span = f"from {scales.short(low)} to {scales.short(high)}"
    for axes, room, parts in (
        (swarm, middle - left, (f"SHAP values, {shown['unit']}", f"{span}; {dots}",
                                "blue: low value, orange: high,", "grey: text, missing")),
        (bars, style.RIGHT - middle, ("Mean |SHAP|, share of all", which)),
    ):  # fmt: skip
        # What stands below the first panel does not reach below the second. A narrow panel has more lines.
        lines = [" ".join(parts[:2]), " ".join(parts[2:])] if len(parts) == 4 else list(parts)
        if max(style.extent(line, _CAPTION[0]) for line in lines) > room - _APART:
            lines = list(parts)
        widest = max(style.extent(line, _CAPTION[1]) for line in lines)
        most = _CAPTION[1] if len(lines) <= 2 else _CAPTION[0]
        scales.below(axes, "\n".join(lines), min(most, _CAPTION[1] * (room - _APART) / widest))
    return figure


def _digits(values: NDArray[np.float64]) -> list[float]:
    """Return values with the digits that can be seen."""
    return [float(f"{value:.4g}") for value in values.tolist()]


def _offsets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each dot stands above or below its line: the more, the more dots are at the same place."""
    span = float(np.ptp(values)) or 1.0
    place = np.minimum(((values - values.min()) / span * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(place, minlength=_BINS)
    by_place = np.argsort(place, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(values))
    rank[by_place] = np.arange(len(values)) - starts[place[by_place]]
    return (rank - (counts[place] - 1) / 2) / max(int(counts.max()) / 2, 3.0) * _REACH  # type: ignore[no-any-return]


def _steps(encoded: NDArray[np.float64], *, ordered: bool) -> NDArray[np.int64]:
    """Return the step of colour of each row, from 0 for the lowest values; ``STEPS`` where none fits."""
    steps = np.full(len(encoded), STEPS)
    known = np.flatnonzero(~np.isnan(encoded))
    if ordered and len(known):
        values, place = np.unique(encoded[known], return_inverse=True)
        # By rank among the rows: a few far-off values would otherwise leave one colour for all others.
        below = np.cumsum(np.bincount(place)) - np.bincount(place) / 2
        step = np.round(below / len(known) * (STEPS - 1)) if len(values) > 1 else np.full(1, STEPS // 2)
        steps[known] = step[place].astype(np.int64)
    return steps
