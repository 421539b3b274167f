"""The beeswarm plot of contributions: a dot for each row and feature, beside each feature's share and its margin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import TaskName
from trainer.plots import style
from trainer.plots.contribution_values import Contributions, measure_contributions

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
#: Steps of colour from a low value to a high one, and how far the fullest place of a swarm reaches.
_STEPS, _REACH = 7, 0.4


def write_contributions(folder: Path, name: str, dataset: Dataset, fitted: FitResult, rows: int) -> None:
    """Write the contributions of a fitted variant's features on test rows, as a table and as a plot.

    Args:
        folder: Where ``contributions.csv`` and ``plots/contributions.png`` go.
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
    figure = contributions(found, heading, dataset.columns("text"), _UNITS[dataset.task])
    style.save(figure, folder / "plots" / "contributions.png")


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
) -> Figure:
    """Return a beeswarm of the features with the largest mean contribution, beside these means.

    Args:
        found: The contributions of all features.
        heading: The plot's heading.
        unordered: Features whose values have no order, which a colour could show.
        unit: What the contributions are in.
    """
    mean, margin = found.mean, found.margin
    order = np.argsort(-mean, kind="stable")[:SHOWN]
    figure = style.canvas(heading, *style.shown_features(len(order), len(found.names), "by contribution"))
    names, left = style.feature_names([found.names[index] for index in order], SIZE)
    middle = left + (style.RIGHT - left) * 0.62
    heights, lowest = range(len(order)), max(len(order), 4) - 0.4
    swarm = style.axes_in(figure, left=left, right=middle - 0.03, top=0.84)
    drawn = np.linspace(0, len(found.rows) - 1, min(len(found.rows), DRAWN)).astype(np.int64)
    for height, index in enumerate(order):
        values = found.values[drawn, index]
        colours = _colours(found.encoded[drawn, index], ordered=found.names[index] not in unordered)
        swarm.scatter(values, height + _offsets(values), s=7, c=colours, alpha=0.8, linewidths=0, zorder=3)
    low, high = min(float(found.values[:, order].min()), 0.0), max(float(found.values[:, order].max()), 0.0)
    edge = (high - low) * 0.03 or 1.0
    swarm.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
    swarm.set_xlim(low - edge, high + edge)
    swarm.set_ylim(lowest, -0.6)
    style.scale(swarm, "left", heights, names, size=SIZE)
    bars = style.axes_in(figure, left=middle, right=style.RIGHT - 0.045, top=0.84)
    all_of_it = float(mean.sum()) or 1.0
    share, sure = mean[order] / all_of_it, margin[order] / all_of_it
    style.bars(bars, heights, share, 0.62, style.BLUE, alpha=0.85, flat=True)
    reach = float((share + sure).max()) or 1.0
    for height, (value, its) in enumerate(zip(share, sure, strict=True)):
        text = f"{value:.1%}" + (f" ±{its * 100:.1f}" if its else "")
        bars.text(value + its + reach * 0.03, height, text, fontsize=SIZE - 2, color=style.INK, va="center")
    bars.hlines(heights, share - sure, share + sure, color=style.INK, linewidth=1.5, zorder=4)
    bars.set_xlim(0, reach * 1.35)
    bars.set_ylim(lowest, -0.6)
    count, total = len(found.rows), found.total
    which = f"exact for all {total:,} test rows" if count == total else f"{count:,} of {total:,} test rows, ± 95%"
    dots = "a dot a row" if len(drawn) == count else f"{len(drawn):,} rows drawn"
    for axes, room, lines in (
        (swarm, middle - left, (f"SHAP values, {unit} from {low:.2g} to {high:.2g}; {dots}",
                                "blue: low value, orange: high, grey: text, missing")),
        (bars, style.RIGHT - middle, ("Mean |SHAP|, share of all", which)),
    ):  # fmt: skip
        # What stands below the first panel does not reach below the second.
        size = 10.5 * min(1.0, (room - 0.015) / max(style.extent(line, 10.5) for line in lines))
        axes.text(0, -0.02, "\n".join(lines), transform=axes.transAxes, fontsize=size, color=style.INK, va="top")
    return figure


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


def _colours(encoded: NDArray[np.float64], *, ordered: bool) -> NDArray[np.float64]:
    """Return (rows, 3) colours from blue for the lowest values to orange for the highest; grey where none fits."""
    from matplotlib.colors import to_rgb

    colours = np.tile(to_rgb(style.GREY), (len(encoded), 1))
    known = np.flatnonzero(~np.isnan(encoded))
    if ordered and len(known):
        values, place = np.unique(encoded[known], return_inverse=True)
        # By rank among the rows: a few far-off values would otherwise leave one colour for all others.
        below = np.cumsum(np.bincount(place)) - np.bincount(place) / 2
        step = np.round(below / len(known) * (_STEPS - 1)) / (_STEPS - 1) if len(values) > 1 else np.full(1, 0.5)
        share = step[place][:, None]
        colours[known] = (1 - share) * to_rgb(style.BLUE) + share * to_rgb(style.ORANGE)
    return colours
