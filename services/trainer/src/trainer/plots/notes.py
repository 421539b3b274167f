"""Notes in a plot: a marked point with a box of text, and a legend, which cover no curve and no other text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from trainer.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

SIZE = 12.5
_SPACING = 1.4
#: The height of a line, as a multiple of its letters' size.
_LINE = 1.164
#: The distance of a note from its axes' edges and from curves, as a share of the axes' width.
_MARGIN = 0.018
#: How many places are tried for a note, across and up; and how finely a curve is followed.
_PLACES, _SAMPLES = 24, 500
#: Into how many cells a side of the axes is cut, to count what a note would cover.
_CELLS = 200

#: Left, bottom, right, top; as shares of the axes' width and height.
Box: TypeAlias = tuple[float, float, float, float]
#: A curve, in the axes' data.
Line: TypeAlias = tuple["NDArray[Any]", "NDArray[Any]"]


@dataclass(frozen=True)
class Entry:
    """An entry of a legend."""

    lines: Sequence[str]
    colour: str
    dashes: Any = "solid"
    weight: str = "normal"


def text_box(axes: Axes, text: str, size: float, at: tuple[float, float], ha: str = "left", va: str = "bottom") -> Box:
    """Return what a text takes of its axes; its place too is a share of their width and height."""
    wide, high = _measured(axes, text, size, 1.2)
    left = at[0] - wide * {"left": 0.0, "center": 0.5, "right": 1.0}[ha]
    bottom = at[1] - high * {"bottom": 0.0, "center": 0.5, "top": 1.0}[va]
    return left, bottom, left + wide, bottom + high


def touches(axes: Axes, box: Box, curves: Sequence[Line]) -> bool:
    """Tell whether any of the curves runs through a box. The axes' limits have to be set."""
    x, y = _points(axes, curves)
    return bool(np.any((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])))


def annotate(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    *,
    curves: Sequence[Line],
    texts: Sequence[Box] = (),
    guides: Sequence[Line] = (),
) -> None:
    """Mark a point with an orange dot, and write a text into a box that is tied to it.

    The box stands where it covers no curve and no text, and few of the guides, as near to its point as that allows.
    Where there is no such place it covers as little as it can.

    Args:
        axes: Where to draw; their limits have to be set.
        text: One or several lines.
        at: The point, in the axes' data.
        curves: What must not be covered.
        texts: The places of texts that must not be covered.
        guides: Lines that may be covered.
    """
    wide, high = _boxed(axes, text)
    (left, bottom), _ = _place(axes, at, (wide, high), curves, texts, guides)
    axes.plot(*([value] for value in at), marker="o", markersize=11, color=style.ORANGE, markeredgecolor=style.PAPER,
              markeredgewidth=2, zorder=5, clip_on=False)  # fmt: skip
    axes.annotate(
        text,
        at,
        xytext=(left + wide / 2, bottom + high / 2),
        textcoords="axes fraction",
        ha="center",
        va="center",
        multialignment="left",
        fontsize=SIZE,
        linespacing=_SPACING,
        color=style.INK,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": style.PAPER, "edgecolor": style.ORANGE, "linewidth": 1.3},
        arrowprops={"arrowstyle": "-", "color": style.ORANGE, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 6},
        zorder=6,
    )


def free_text(axes: Axes, text: str, curves: Sequence[Line], *, size: float) -> None:
    """Write a text where it covers no curve, as near to the upper left corner as that allows."""
    wide, high = _measured(axes, text, size, 1.5)
    corner = axes.transData.inverted().transform(axes.transAxes.transform((0, 1)))
    (left, bottom), _ = _place(axes, tuple(corner), (wide, high), curves, (), ())
    axes.text(left, bottom + high, text, transform=axes.transAxes, fontsize=size, color=style.INK, va="top",
              linespacing=1.5, zorder=6, parse_math=False)  # fmt: skip


def corner_text(axes: Axes, text: str, dots: Line, *, size: float) -> None:
    """Write a text into the corner with the fewest dots, the upper left one of equals, on a ground that dims them."""
    wide, high = _measured(axes, text, size, 1.5)
    x, y = _scaled(axes, dots)
    corners: list[tuple[int, int, float, float]] = []
    for bottom in (0.98 - high, 0.02):
        for left in (0.015, 0.985 - wide):
            hidden = (x > left) & (x < left + wide) & (y > bottom) & (y < bottom + high)
            corners.append((int(np.count_nonzero(hidden)), len(corners), left, bottom))
    *_, left, bottom = min(corners)
    box = {"boxstyle": "round,pad=0.3", "facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.85}
    axes.text(left, bottom + high, text, transform=axes.transAxes, fontsize=size, color=style.INK, va="top",
              linespacing=1.5, zorder=6, bbox=box, parse_math=False)  # fmt: skip


def headroom(axes: Axes, text: str, curves: Sequence[Line]) -> float:
    """Return what share of their height the axes lack for a note that covers no curve; 0 where there is a place.

    The axes' limits have to be set.
    """
    size = _boxed(axes, text)
    if _place(axes, None, size, curves, (), ())[1]:
        return 0.0
    return size[1] + 2.5 * _MARGIN * style.WIDTH / style.HEIGHT


def legend(axes: Axes, x: float, entries: Sequence[Entry], more: str = "", *, size: float) -> None:
    """Write a legend beside the axes, from their top downwards.

    Args:
        axes: Where to draw.
        x: Where it begins, as a share of the axes' width.
        entries: A line of the curve's colour, and one or several lines of text, each.
        more: What stands below them.
        size: The letters' size (points).
    """
    spacing = 1.15
    line = size * _LINE * spacing / 72 / (axes.get_position().height * style.HEIGHT)
    y = 1.0
    for entry in entries:
        middle = y - line / 2
        axes.plot([x, x + 0.045], [middle, middle], transform=axes.transAxes, color=entry.colour, linewidth=3.5,
                  linestyle=entry.dashes, clip_on=False)  # fmt: skip
        axes.text(x + 0.06, y, "\n".join(entry.lines), transform=axes.transAxes, fontsize=size, color=style.INK,
                  fontweight=entry.weight, va="top", linespacing=spacing, parse_math=False)  # fmt: skip
        y -= line * (len(entry.lines) + 0.7)
    if more:
        axes.text(x, y, more, transform=axes.transAxes, fontsize=size, color=style.GREY, va="top", linespacing=spacing)


def stepped(x: NDArray[Any], y: NDArray[Any]) -> Line:
    """Return the corners of a curve of steps, each of which holds its value until the next."""
    x, y = np.asarray(x), np.asarray(y)
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def _measured(axes: Axes, text: str, size: float, spacing: float) -> tuple[float, float]:
    place = axes.get_position()
    lines = text.split("\n")
    wide = max(style.extent(line, size) for line in lines) / place.width
    height = place.height * axes.figure.get_figheight() * 72  # type: ignore[union-attr]
    return wide, len(lines) * size * _LINE * spacing / height


def _boxed(axes: Axes, text: str) -> tuple[float, float]:
    """Return the width and the height of a note's box, which is half a letter's size around its text."""
    (wide, high), place = _measured(axes, text, SIZE, _SPACING), axes.get_position()
    upward = SIZE / 72 / (axes.figure.get_figheight() * place.height)  # type: ignore[union-attr]
    return wide + SIZE / 72 / (style.WIDTH * place.width), high + upward


def _scaled(axes: Axes, line: Line) -> Line:
    """Return places as shares of the axes' width and height."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = (np.asarray(part, dtype=np.float64) for part in line)
    return (x - left) / (right - left), (y - bottom) / (top - bottom)


def _points(axes: Axes, curves: Sequence[Line]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places along the curves, close enough to each other, as shares of the axes' width and height."""
    found = [(np.empty(0), np.empty(0))]
    for curve in curves:
        x, y = _scaled(axes, curve)
        way = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
        places = np.linspace(0, way[-1], min(max(int(way[-1] / 0.005), 2), 4 * _SAMPLES))
        found.append((np.interp(places, way, x), np.interp(places, way, y)))
    return np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])


def _place(
    axes: Axes,
    at: tuple[float, float] | None,
    size: tuple[float, float],
    curves: Sequence[Line],
    texts: Sequence[Box],
    guides: Sequence[Line],
) -> tuple[tuple[float, float], bool]:
    """Return the lower left corner of the best place for a box, and whether it covers nothing there."""
    (wide, high), margin = size, _MARGIN
    upward = margin * style.WIDTH / style.HEIGHT
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(at or (axes.get_xlim()[0], axes.get_ylim()[0])))
    left, bottom = (
        part.ravel()
        for part in np.meshgrid(
            np.linspace(margin, max(1 - margin - wide, margin), _PLACES),
            np.linspace(upward, max(1 - upward - high, upward), _PLACES),
        )
    )
    right, top = left + wide, bottom + high

    def covered(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many points are in each box and its margin, from the numbers of points below and to the left."""
        cells = [np.clip((part * _CELLS).astype(np.int64) + 1, 0, _CELLS + 1) for part in (x, y)]
        side = _CELLS + 2
        counts = np.bincount(cells[0] * side + cells[1], minlength=side * side).reshape(side, side)
        before = np.pad(counts.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        ends = [
            np.clip(np.floor(part * _CELLS).astype(np.int64) + 1 + more, 0, side)
            for part, more in ((left - margin, 0), (right + margin, 1), (bottom - upward, 0), (top + upward, 1))
        ]
        (low_x, high_x), (low_y, high_y) = ends[:2], ends[2:]
        return before[high_x, high_y] - before[low_x, high_y] - before[high_x, low_y] + before[low_x, low_y]  # type: ignore[no-any-return]

    hidden = covered(*_points(axes, curves))
    if at is not None:
        hidden = hidden + 100 * covered(np.array([x]), np.array([y]))
    for box in texts:
        over = (left < box[2] + margin / 2) & (right > box[0] - margin / 2)
        hidden = hidden + 100 * (over & (bottom < box[3] + upward / 2) & (top > box[1] - upward / 2))
    away = np.hypot(
        np.maximum(np.maximum(left - x, x - right), 0),
        np.maximum(np.maximum(bottom - y, y - top), 0),
    )
    cost = 10.0 * hidden + 0.002 * covered(*_points(axes, guides)) + away
    best = int(np.argmin(cost))
    return (float(left[best]), float(bottom[best])), not hidden[best]
