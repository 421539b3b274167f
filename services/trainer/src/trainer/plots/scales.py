"""Axes, their scales and grids, and bars: with few of matplotlib's objects, which are what a plot's time goes into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Side: TypeAlias = Literal["left", "bottom", "top"]

#: Large numbers on a scale, by their sign.
_UNITS = (1e9, "bn"), (1e6, "M"), (1e3, "k")
#: Of axes with a row for each feature (inches): what is above and below them, and what a row takes.
_ABOVE, _BELOW, _ROW = 0.95, 0.72, 0.365


def axes_in(
    figure: Figure,
    left: float = style.LEFT,
    bottom: float = style.BOTTOM,
    right: float = style.RIGHT,
    top: float = style.TOP,
) -> Axes:
    """Return bare axes at a place in the figure (shares of its width and height); ``scale`` gives them their scales.

    matplotlib's own scales make five objects for each tick and measure every label twice: a third of a plot's time.
    """
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    axes.set_axis_off()
    return axes


def scale(
    axes: Axes,
    side: Side,
    places: Sequence[float],
    labels: Sequence[str],
    title: str = "",
    *,
    size: float = 12,
    pad: float = 7,
) -> None:
    """Write a scale along one side of the axes.

    Args:
        axes: Where to draw; their limits may be set later.
        side: Which side.
        places: Where the labels go, in the axes' data.
        labels: As many texts.
        title: What the scale is of; centred, beyond the labels.
        size: The labels' size (points).
        pad: The labels' distance from the axes (points).
    """
    from matplotlib.transforms import ScaledTranslation

    upright = side == "left"
    across = axes.get_yaxis_transform() if upright else axes.get_xaxis_transform()
    scales = axes.figure.dpi_scale_trans
    x, y = {"left": (-pad, 0.0), "bottom": (0.0, -pad), "top": (0.0, pad)}[side]
    beside = across + ScaledTranslation(x / 72, y / 72, scales)
    edge = 1.0 if side == "top" else 0.0
    ha, va = {"left": ("right", "center_baseline"), "bottom": ("center", "top"), "top": ("center", "bottom")}[side]
    for place, label in zip(places, labels, strict=True):
        at = (edge, place) if upright else (place, edge)
        axes.text(*at, label, transform=beside, fontsize=size, color=style.INK, ha=ha, va=va, parse_math=False)
    if title and upright:
        # Always at the same place: labels differ in width from plot to plot.
        outside = axes.figure.transFigure + ScaledTranslation(0, 0, scales)
        middle = sum(axes.get_position().intervaly) / 2
        axes.text(0.04, middle, title, transform=outside, fontsize=13, color=style.INK, ha="center", va="center",
                  rotation=90, parse_math=False)  # fmt: skip
    elif title:
        lines_above = max((label.count("\n") + 1 for label in labels), default=0)
        below = axes.transAxes + ScaledTranslation(0, -(pad + lines_above * size * 1.2 + 8) / 72, scales)
        axes.text(
            0.5, 0.0, title, transform=below, fontsize=13, color=style.INK, ha="center", va="top", parse_math=False
        )


def grid(axes: Axes, side: Side, places: Sequence[float]) -> None:
    """Draw a light line across the axes from each place on one side."""
    from matplotlib.collections import LineCollection

    upright = side == "left"
    across = axes.get_yaxis_transform() if upright else axes.get_xaxis_transform()
    lines = [[(0.0, place), (1.0, place)] if upright else [(place, 0.0), (place, 1.0)] for place in places]
    axes.add_collection(
        LineCollection(lines, transform=across, colors=style.PALE, linewidths=1, zorder=0.5), autolim=False
    )


def bars(
    axes: Axes,
    places: Iterable[float],
    lengths: Iterable[float],
    width: float,
    colour: str,
    *,
    alpha: float,
    flat: bool = False,
) -> None:
    """Draw bars as one object, which takes a tenth of the time of matplotlib's one object a bar.

    Args:
        axes: Where to draw; its limits have to be set.
        places: The middles of the bars, in the axes' data.
        lengths: How far each reaches from zero.
        width: Their width, in the axes' data.
        colour: What they are filled with.
        alpha: How much of what lies behind is covered.
        flat: Whether they reach to the right; upwards otherwise.
    """
    from matplotlib.collections import PolyCollection

    corners = []
    for place, length in zip(places, lengths, strict=True):
        low, high = place - width / 2, place + width / 2
        bar = [(0.0, low), (length, low), (length, high), (0.0, high)]
        corners.append(bar if flat else [(across, along) for along, across in bar])
    axes.add_collection(PolyCollection(corners, facecolors=colour, alpha=alpha, linewidths=0), autolim=False)


def baseline(axes: Axes) -> None:
    """Draw a line along the bottom of the axes."""
    from matplotlib.collections import LineCollection

    line = LineCollection([[(0, 0), (1, 0)]], transform=axes.transAxes, colors=style.GREY, linewidths=0.8,
                          clip_on=False, zorder=2.5)  # fmt: skip
    axes.add_collection(line, autolim=False)


def percent_scales(axes: Axes, across: str, upward: str) -> None:
    """Give both axes the range from 0 to 100 %, and their titles; without the first, the lower scale is left out."""
    labels = [f"{place:.0%}" for place in style.PERCENT]
    if across:
        scale(axes, "bottom", style.PERCENT, labels, across)
    scale(axes, "left", style.PERCENT, labels, upward)
    grid(axes, "bottom", style.PERCENT)
    grid(axes, "left", style.PERCENT)
    baseline(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)


def round_scale(axes: Axes, side: Side, low: float, high: float, title: str, *, integer: bool = False) -> None:
    """Write a scale of about six round numbers between two bounds, and the grid that belongs to it."""
    from matplotlib.ticker import MaxNLocator

    places = [
        float(place)
        for place in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=integer).tick_values(low, high)
        if low <= place <= high
    ]
    step = places[1] - places[0] if len(places) > 1 else 1.0
    labels = _labels(places, step)
    size = 12.0
    if side == "bottom" and sum(style.extent(label, size) for label in labels) > 0.7:
        places, labels = places[::2], labels[::2]
    while (
        side == "left"
        and size > style.SMALLEST - 2
        and max((style.extent(label, size) for label in labels), default=0.0) > 0.057
    ):
        size -= 0.5
    scale(axes, side, places, labels, title, size=size)
    grid(axes, side, places)


def _labels(places: Sequence[float], step: float) -> list[str]:
    """Return round numbers as texts, with as many digits as tell the steps apart, and thousands and millions short."""
    largest = max(map(abs, places), default=0.0)
    unit, sign = _unit(largest)
    digits = _digits(step / unit)
    if sign and digits is not None and digits <= 3:
        return [f"{place / unit:,.{digits}f}{sign}" if place else "0" for place in places]
    digits = _digits(step)
    if digits is None or largest >= 1e7 or largest < 1e-3:
        # 4e9, 2e-6: as short as numbers of this size get.
        return [f"{place:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-") for place in places]
    return [f"{place:,.{digits}f}" for place in places]


def short(value: float) -> str:
    """Return a number with two digits that count, and thousands and millions short."""
    unit, sign = _unit(value)
    return f"{float(f'{value / unit:.2g}'):g}{sign}"


def _unit(largest: float) -> tuple[float, str]:
    """Return in what numbers of a size are told, and its sign."""
    return next(((unit, sign) for unit, sign in _UNITS if max(unit, 1e4) <= abs(largest) < 1e12), (1.0, ""))


def _digits(step: float) -> int | None:
    """Return how many decimals a step has, up to six; None where it has more."""
    return next((count for count in range(7) if abs(round(step, count) - step) < 1e-3 * step), None)


def beside_bars(axes: Axes, ends: Sequence[float], texts: Sequence[str], size: float, room: float) -> None:
    """Write a text to the right of each bar, and give the axes the range in which all of them have room.

    Args:
        axes: Axes of rows; see ``rows_in``.
        ends: Where the bars end, in the axes' data, from zero.
        texts: As many texts.
        size: The letters' size (points).
        room: From the axes' left side to where the texts end (a share of the figure's width).
    """
    from matplotlib.transforms import ScaledTranslation

    gap = 5 / 72
    wide = axes.get_position().width
    reach = float(max(ends)) or 1.0
    texts_wide = max(style.extent(text, size) for text in texts) + 2 * gap / style.WIDTH
    axes.set_xlim(0, reach * wide / max(room - texts_wide, 0.1 * wide))
    beside = axes.transData + ScaledTranslation(gap, 0, axes.figure.dpi_scale_trans)
    for place, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.text(end, place, text, transform=beside, fontsize=size, color=style.INK, va="center")


def height_for(rows: int) -> float:
    """Return how high a figure is that has a row for each feature (inches): a few rows leave no void below them."""
    return min(style.HEIGHT, _ABOVE + _BELOW + max(rows, 1) * _ROW)


def rows_in(figure: Figure, left: float, right: float, rows: int) -> Axes:
    """Return bare axes for rows from the top downwards; the row of a number is at that height in the axes' data."""
    height = figure.get_figheight()
    axes = axes_in(figure, left, _BELOW / height, right, 1 - _ABOVE / height)
    axes.set_ylim(rows - 0.5, -0.5)
    return axes


def below(axes: Axes, text: str, size: float) -> None:
    """Write what axes of rows show, below them."""
    down = 0.1 / (axes.get_position().height * axes.figure.get_figheight())  # type: ignore[union-attr]
    axes.text(0, -down, text, transform=axes.transAxes, fontsize=size, color=style.INK, va="top", linespacing=1.3)
