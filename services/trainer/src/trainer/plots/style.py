"""What all pictures share: palette, type sizes, heading, grid, and how they become files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colours stay apart for the colour-blind, and in grey.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY, INK, PALE = "#6B7280", "#1F2937", "#E5E7EB"

WIDTH, HEIGHT, DPI = 8.0, 6.0, 120
LEFT, BOTTOM, RIGHT, TOP = 0.125, 0.125, 0.955, 0.85


@dataclass(frozen=True)
class Heading:
    """A picture's heading, such as the variant's name, and the smaller line below it."""

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # At these sizes nobody sees the difference, and letters are drawn a third faster.
    rcParams["text.hinting"] = "none"
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    # A long heading gets smaller, to stay clear of the figure at its right.
    title = shortened(heading.title, 80)
    size = min(17.0, 17.0 * 36 / max(len(title), 1))
    subtitle = shortened(heading.subtitle, 90)
    lines: tuple[tuple[str, float, float, str, dict[str, Any]], ...] = (
        (title, LEFT, 0.944, "left", {"fontsize": size, "fontweight": "bold", "color": INK}),
        (subtitle, LEFT, 0.893, "left", {"fontsize": min(12.0, 12.0 * 60 / max(len(subtitle), 1)), "color": GREY}),
        (merit, RIGHT, 0.944, "right", {"fontsize": 20, "fontweight": "bold", "color": BLUE}),
        (its_name, RIGHT, 0.893, "right", {"fontsize": 12, "color": GREY}),
    )
    for text, x, y, align, style in lines:
        # Dollar signs in a column's or a file's name are not mathematics.
        figure.text(x, y, text, ha=align, va="center", parse_math=False, **style)
    return figure


def axes_in(
    figure: Figure,
    left: float = LEFT,
    bottom: float = BOTTOM,
    right: float = RIGHT,
    top: float = TOP,
    grid: str = "both",
) -> Axes:
    """Return axes with a light grid at a place in the figure (shares of its width and height)."""
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    axes.tick_params(labelsize=12, colors=INK, length=0, pad=7)
    axes.xaxis.label.set(fontsize=13, color=INK)
    axes.yaxis.label.set(fontsize=13, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    if grid != "none":
        axes.grid(axis=grid, color=PALE, linewidth=1)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    return axes


def percent_axes(axes: Axes) -> None:
    """Give both axes the range from 0 to 100 %."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.linspace(0, 1, 6), [f"{share}%" for share in range(0, 101, 20)])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)


def note(axes: Axes, text: str, at: tuple[float, float], place: dict[str, Any]) -> None:
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
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    # matplotlib's own way compresses harder, at three times the time; without alpha there is a quarter less to do.
    pixels = figure.canvas.buffer_rgba()  # type: ignore[attr-defined]
    height, width, _ = pixels.shape
    picture = Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1).convert("RGB")
    picture.save(path, format="png", compress_level=1, dpi=(DPI, DPI))
