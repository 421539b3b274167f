"""What all plots share: colours, letters, and an empty figure with its heading."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.plots.themes import light
from trainer.util.text import short_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BLUE, ORANGE, GREEN, PINK, SKY, AMBER = map(light, ("blue", "orange", "green", "pink", "sky", "amber"))
PAPER, GREY, INK, PALE = map(light, ("paper", "grey", "ink", "pale"))
#: What tells six curves apart: the colour, and for those that cannot see it the dashes.
LINES: tuple[tuple[str, Any], ...] = (
    (BLUE, "solid"),
    (ORANGE, "solid"),
    (GREEN, (0, (6, 1.5))),
    (PINK, (0, (1.6, 1))),
    (SKY, (0, (3, 1))),
    (AMBER, (0, (6, 1.5, 1.5, 1.5))),
)

WIDTH, HEIGHT, DPI = 8.0, 6.0, 120
LEFT, BOTTOM, RIGHT, TOP = 0.125, 0.125, 0.955, 0.85
#: A heading's letters, at least (points).
SMALLEST = 8.0
PERCENT = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

#: A letter is drawn by the first font that has it. The first is matplotlib's own; the last ones look coarse, and have
#: nearly every letter that there is.
FONTS = (
    "DejaVu Sans",
    # Chinese, Japanese and Korean: in the image, and on desktops.
    *("WenQuanYi Micro Hei", "Noto Sans CJK SC", "Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic"),
    # Indian scripts, Thai, Ethiopic: in the image, and on desktops.
    *("FreeSans", "FreeSerif", "Nirmala UI", "Leelawadee UI", "Segoe UI Emoji", "Segoe UI Symbol"),
    *("Unifont", "Unifont Upper"),
)


@dataclass(frozen=True)
class Heading:
    """A plot's heading, such as the variant's name, and the smaller line below it."""

    title: str
    subtitle: str = ""


def canvas(heading: Heading, merit: str, its_name: str, what: str = "", height: float = HEIGHT) -> Figure:
    """Return an empty figure, 960 pixels wide, with its heading, and one prominent number at the right.

    Args:
        heading: The texts at the left.
        merit: The prominent number, such as ``75.8%``.
        its_name: What that number is.
        what: What the plot shows; it begins the second line.
        height: The figure's height (inches): 720 pixels, or less where there is less to show.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    from trainer.plots.renderer import Canvas

    # At these sizes nobody sees the difference, and letters are drawn a third faster.
    rcParams["text.hinting"] = "none"
    rcParams["font.family"] = _fonts()
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    Canvas(figure)
    second = ": ".join(part for part in (what, heading.subtitle) if part)
    for y, size, title, its_size, its, ink, its_ink, weight in (
        # What a search has drawn has sixteen digits, of which four tell variants apart.
        (0.944, 17.0, short_numbers(heading.title), 20.0, merit, INK, BLUE, "bold"),
        (0.893, 12.0, second, 12.0, its_name, GREY, GREY, "normal"),
    ):
        # A long heading gets smaller, and then shorter, to stay clear of what is at its right.
        room = RIGHT - LEFT - 0.02 - extent(its, its_size, weight)
        text = cut(title, SMALLEST, room, weight)
        # Dollar signs in a column's or a file's name are not mathematics.
        common: dict[str, Any] = {"va": "center", "fontweight": weight, "parse_math": False}
        at = share(y, height)
        figure.text(LEFT, at, text, ha="left", fontsize=size_for(text, size, room, weight), color=ink, **common)
        figure.text(RIGHT, at, its, ha="right", fontsize=its_size, color=its_ink, **common)
    return figure


def size_for(text: str, size: float, room: float, weight: str = "normal") -> float:
    """Return the largest size (points), up to ``size``, at which a line of text fits a share of the figure's width."""
    fits = size * min(1.0, room / (extent(text, size, weight) or 1.0))
    # A letter takes whole pixels: texts do not shrink in proportion to their size.
    while fits > SMALLEST and extent(text, fits, weight) > room:
        fits -= 0.2
    return fits


def share(y: float, height: float) -> float:
    """Return a place in a full figure (a share of its height) in one of another height, as far from its upper edge."""
    return 1 - (1 - y) * HEIGHT / height


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


def on_one_line(text: str) -> str:
    """Return a name with a sign for each of its lines' ends: on two lines it would stand in another's place."""
    return "↵".join(text.expandtabs(1).splitlines())


def cut(text: str, size: float, room: float, weight: str = "normal") -> str:
    """Return a text with its middle cut out where it needs more room, which is a share of the figure's width."""
    text = on_one_line(text)
    most = len(text) if extent(text, size, weight) <= room else fitting(text, size, room, weight)
    # The letters that are left may be wider than those in between.
    while extent(shortened(text, most), size, weight) > room and most > 2:
        most -= 1
    return shortened(text, most)


def shown_features(shown: int, total: int, order: str) -> tuple[str, str]:
    """Return the prominent number of a plot of features, and what it is."""
    if total == 1:
        return "1", "feature"
    return (f"{shown} of {total:,}" if total > shown else f"{total}"), f"features, {order}"


def shortened(text: str, most: int) -> str:
    """Return ``text`` with its middle cut out where it is longer than ``most`` characters: names differ at the ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def thinned(x: NDArray[Any], y: NDArray[Any], *others: NDArray[Any], steps: int = 1_500) -> tuple[NDArray[Any], ...]:
    """Return a curve within the unit square without the points that fall on their predecessor's pixel.

    A curve of a million rows looks the same and is drawn as fast as one of a thousand. What else is known of each point
    is thinned with them.
    """
    grid = np.round(np.stack([x, y]) * steps)
    keep = np.append(True, np.any(grid[:, 1:] != grid[:, :-1], axis=0))
    keep[-1] = True
    return tuple(values[keep] for values in (x, y, *others))
