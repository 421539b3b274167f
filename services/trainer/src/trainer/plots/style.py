"""What all plots share: palette, type sizes, heading, grid, and how they become files."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL import Image

# Okabe and Ito's colours stay apart for the colour-blind, and in grey.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY, INK, PALE = "#6B7280", "#1F2937", "#E5E7EB"

WIDTH, HEIGHT, DPI = 8.0, 6.0, 120
LEFT, BOTTOM, RIGHT, TOP = 0.125, 0.125, 0.955, 0.85
#: A heading's letters, at least (points).
SMALLEST = 8.0
PERCENT = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

#: matplotlib's own has no Chinese, Japanese or Korean letters: the next is in the image, the others on most desktops.
FONTS = (
    "DejaVu Sans",
    "WenQuanYi Micro Hei",
    "Noto Sans CJK SC",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Malgun Gothic",
)

Side: TypeAlias = Literal["left", "bottom", "top"]


@dataclass(frozen=True)
class Heading:
    """A plot's heading, such as the variant's name, and the smaller line below it."""

    title: str
    subtitle: str = ""


def canvas(heading: Heading, merit: str, its_name: str) -> Figure:
    """Return an empty figure of 960 by 720 pixels with its heading, and one prominent figure at the right.

    Args:
        heading: The texts at the left.
        merit: The prominent figure, such as ``75.8%``.
        its_name: What that figure is.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    from trainer.plots.renderer import Canvas

    # At these sizes nobody sees the difference, and letters are drawn a third faster.
    rcParams["text.hinting"] = "none"
    rcParams["font.family"] = _fonts()
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    Canvas(figure)
    for y, size, title, its_size, its, ink, its_ink, weight in (
        (0.944, 17.0, heading.title, 20.0, merit, INK, BLUE, "bold"),
        (0.893, 12.0, heading.subtitle, 12.0, its_name, GREY, GREY, "normal"),
    ):
        # A long heading gets smaller, and then shorter, to stay clear of what is at its right.
        room = RIGHT - LEFT - 0.02 - extent(its, its_size, weight)
        text = shortened(title, fitting(title, SMALLEST, room, weight))
        wide = extent(text, size, weight)
        # Dollar signs in a column's or a file's name are not mathematics.
        common: dict[str, Any] = {"va": "center", "fontweight": weight, "parse_math": False}
        figure.text(LEFT, y, text, ha="left", fontsize=size * min(1.0, room / (wide or 1.0)), color=ink, **common)
        figure.text(RIGHT, y, its, ha="right", fontsize=its_size, color=its_ink, **common)
    return figure


@cache
def _fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    # Of a font that has no bold letters, its others do.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def extent(text: str, size: float, weight: str = "normal") -> float:
    """Return how wide a line of text gets, as a share of the figure's width."""
    return _pixels(text, size, weight) / (WIDTH * DPI)


@lru_cache(2_048)
def _pixels(text: str, size: float, weight: str) -> float:
    # Plots have most of their texts in common: a run's name stands in all of its six.
    from matplotlib.font_manager import FontProperties

    letters = FontProperties(size=size, weight=weight)
    return float(_surface().get_text_width_height_descent(text, letters, ismath=False)[0])


@cache
def _surface() -> Any:
    """Return a surface to measure texts on: all plots have one size and one resolution."""
    from trainer.plots.renderer import Renderer

    return Renderer(int(WIDTH * DPI), int(HEIGHT * DPI), DPI)


def fitting(text: str, size: float, room: float, weight: str = "normal") -> int:
    """Return how many of a text's letters take the room, as a share of the figure's width."""
    return int(len(text) * room / (extent(text, size, weight) or 1.0))


def shown_features(shown: int, total: int, order: str) -> tuple[str, str]:
    """Return the prominent figure of a plot of features, and what it is."""
    if total == 1:
        return "1", "feature"
    return (f"{shown} of {total:,}" if total > shown else f"{total}"), f"features, {order}"


def feature_names(names: Sequence[str], size: float) -> tuple[list[str], float]:
    """Return features' names as a plot has room for them, and how far to the right they reach."""
    # Names get what they need, and what is drawn the rest.
    names = [shortened(name, fitting(name, size, 0.36)) for name in names]
    return names, min(0.03 + max(extent(name, size) for name in names), 0.4)


def axes_in(figure: Figure, left: float = LEFT, bottom: float = BOTTOM, right: float = RIGHT, top: float = TOP) -> Axes:
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
        axes.text(*at, label, transform=beside, fontsize=size, color=INK, ha=ha, va=va, parse_math=False)
    if title and upright:
        # Always at the same place: labels differ in width from plot to plot.
        outside = axes.figure.transFigure + ScaledTranslation(0, 0, scales)
        middle = sum(axes.get_position().intervaly) / 2
        axes.text(0.04, middle, title, transform=outside, fontsize=13, color=INK, ha="center", va="center", rotation=90,
                  parse_math=False)  # fmt: skip
    elif title:
        lines_above = max((label.count("\n") + 1 for label in labels), default=0)
        below = axes.transAxes + ScaledTranslation(0, -(pad + lines_above * size * 1.2 + 8) / 72, scales)
        axes.text(0.5, 0.0, title, transform=below, fontsize=13, color=INK, ha="center", va="top", parse_math=False)


def grid(axes: Axes, side: Side, places: Sequence[float]) -> None:
    """Draw a light line across the axes from each place on one side."""
    from matplotlib.collections import LineCollection

    upright = side == "left"
    across = axes.get_yaxis_transform() if upright else axes.get_xaxis_transform()
    lines = [[(0.0, place), (1.0, place)] if upright else [(place, 0.0), (place, 1.0)] for place in places]
    axes.add_collection(LineCollection(lines, transform=across, colors=PALE, linewidths=1, zorder=0.5), autolim=False)


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

    line = LineCollection([[(0, 0), (1, 0)]], transform=axes.transAxes, colors=GREY, linewidths=0.8, clip_on=False,
                          zorder=2.5)  # fmt: skip
    axes.add_collection(line, autolim=False)


def percent_scales(axes: Axes, across: str, upward: str) -> None:
    """Give both axes the range from 0 to 100 %, and their titles; without the first, the lower scale is left out."""
    labels = [f"{place:.0%}" for place in PERCENT]
    if across:
        scale(axes, "bottom", PERCENT, labels, across)
    scale(axes, "left", PERCENT, labels, upward)
    grid(axes, "bottom", PERCENT)
    grid(axes, "left", PERCENT)
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
    # As many digits as tell the steps apart.
    digits = next((count for count in range(7) if abs(round(step, count) - step) < 1e-3 * step), None)
    labels = [f"{place:.3g}" if digits is None else f"{place:,.{digits}f}" for place in places]
    # At the left the title keeps its place: longer labels get smaller, to stay clear of it.
    size = 12.0
    while (
        side == "left" and size > SMALLEST - 2 and max((extent(label, size) for label in labels), default=0.0) > 0.057
    ):
        size -= 0.5
    scale(axes, side, places, labels, title, size=size)
    grid(axes, side, places)


def annotate(axes: Axes, text: str, at: tuple[float, float], place: dict[str, Any]) -> None:
    """Mark the point ``at`` with an orange dot, and write ``text`` into a box that is tied to it.

    Args:
        axes: Where to draw.
        text: One or several lines.
        at: The point, in the axes' data.
        place: Where the box goes: ``xytext``, ``textcoords``, ``ha`` and ``va`` as matplotlib's annotate takes them.
    """
    axes.plot(*([value] for value in at), marker="o", markersize=11, color=ORANGE, markeredgecolor="white",
              markeredgewidth=2, zorder=5, clip_on=False)  # fmt: skip
    axes.annotate(
        text,
        at,
        fontsize=12.5,
        linespacing=1.4,
        color=INK,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": ORANGE, "linewidth": 1.3, "alpha": 0.96},
        arrowprops={"arrowstyle": "-", "color": ORANGE, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 6},
        zorder=6,
        **place,
    )


def shortened(text: str, most: int) -> str:
    """Return ``text`` with its middle cut out where it is longer than ``most`` characters: names differ at the ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def thinned(x: NDArray[Any], y: NDArray[Any], steps: int = 1_500) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a curve within the unit square without the points that fall on their predecessor's pixel.

    A curve of a million rows looks the same and is drawn as fast as one of a thousand.
    """
    grid = np.round(np.stack([x, y]) * steps)
    keep = np.append(True, np.any(grid[:, 1:] != grid[:, :-1], axis=0))
    keep[-1] = True
    return x[keep], y[keep]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    picture = _with_palette(np.asarray(figure.canvas.buffer_rgba()))  # type: ignore[attr-defined]
    picture.save(path, format="png", compress_level=1, dpi=(DPI, DPI))


def _with_palette(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return a plot of 256 colours, which a few colours and their shades are: its file is less than half as large.

    Neighbours are mostly equal, so that it is enough to choose a colour for the first pixel of each run of equal ones.

    Args:
        pixels: (height, width, 4) red, green, blue and an opaque alpha.
    """
    from PIL import Image

    height, width, _ = pixels.shape
    flat = np.ascontiguousarray(pixels).view(np.uint32).ravel()
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    firsts = Image.frombuffer("RGBA", (len(starts), 1), flat[starts].tobytes(), "raw", "RGBA", 0, 1).convert("RGB")
    firsts = firsts.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    indices = np.repeat(np.asarray(firsts), np.diff(starts, append=flat.size))
    picture = Image.frombuffer("P", (width, height), indices.tobytes(), "raw", "P", 0, 1)
    palette = firsts.getpalette() or []
    # The background's own colour, not the mean of the shades that share its place.
    background = 3 * int(indices[0])
    palette[background : background + 3] = pixels[0, 0, :3].tolist()
    picture.putpalette(palette)
    return picture


def warm_up() -> None:
    """Write an empty plot, and forget it: a process's first one takes 0.1 s more."""
    figure = canvas(Heading("Rehearsal"), "0%", "nothing")
    percent_scales(axes_in(figure), "across", "upward")
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        save(figure, Path(folder) / "rehearsal.png")
