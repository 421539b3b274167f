"""matplotlib's canvas and axes without what takes most of a picture's time: letters drawn anew, and ticks.

Drawing the same texts again takes a third of the time, and ticks a tenth, even where none is shown.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg, get_hinting_flag
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import RenderMode
from numpy.typing import NDArray

#: Letters start at a quarter of a pixel: finer steps cannot be seen.
_STEPS = 4


class _Letter(NamedTuple):
    """A letter's (height, width) coverage, and where its lower left corner is, in pixels to the right and downwards."""

    coverage: NDArray[np.uint8]
    left: int
    bottom: int


class _Renderer(RendererAgg):
    """Draws as its base does, but remembers each text and each letter."""

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        """Draw a text; mathematics and special features of fonts are left to the base."""
        if ismath or (mtext is not None and (mtext.get_fontfeatures() or mtext.get_language())):
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
            return
        right, right_part = _stepped(x)
        down, down_part = _stepped(y)
        for letter in _letters(self, s, prop.copy(), angle, right_part, down_part):
            self._renderer.draw_text_image(letter.coverage, right + letter.left, down + letter.bottom, 0, gc)


class _BareXAxis(XAxis):
    majorTicks: Any = ()  # noqa: N815 - matplotlib's names
    minorTicks: Any = ()  # noqa: N815


class _BareYAxis(YAxis):
    majorTicks: Any = ()  # noqa: N815 - matplotlib's names
    minorTicks: Any = ()  # noqa: N815


class BareAxes(Axes):
    """Axes that make no ticks, for scales that are written as texts."""

    def _init_axis(self) -> None:
        self.xaxis, self.yaxis = _BareXAxis(self, clear=False), _BareYAxis(self, clear=False)
        for spine, axis in zip(("bottom", "top", "left", "right"), (self.xaxis,) * 2 + (self.yaxis,) * 2, strict=True):
            self.spines[spine].register_axis(axis)


class Canvas(FigureCanvasAgg):
    """A canvas that shares its surface, and what was measured on it, with the others of its size.

    What it shows holds until the next one is drawn.
    """

    def get_renderer(self) -> RendererAgg:
        """Return the surface that figures of this size are drawn on."""
        width, height = self.get_width_height(physical=True)
        self.renderer = surface = _surface(width, height, self.figure.dpi)
        return surface


@lru_cache(4)
def _surface(width: int, height: int, dpi: float) -> _Renderer:
    return _Renderer(width, height, dpi)  # type: ignore[no-untyped-call]


def _stepped(value: float) -> tuple[int, float]:
    """Return a coordinate as whole pixels and a rest, rounded to a step."""
    steps = round(value * _STEPS)
    return steps // _STEPS, steps % _STEPS / _STEPS


@lru_cache(2_048)
def _letters(
    surface: _Renderer, text: str, prop: FontProperties, angle: float, right: float, down: float
) -> list[_Letter]:
    """Return a text's letters, with their places from the pixel in which it starts."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    size = prop.get_size_in_points()
    letters = []
    for item in surface._prepare_font(prop)._layout(text, flags=get_hinting_flag()):  # type: ignore[no-untyped-call]
        # The letters' y is upwards, the picture's downwards.
        across, across_part = _stepped(right + item.x * cos - item.y * sin)
        along, along_part = _stepped(down - item.x * sin - item.y * cos)
        letter = _letter(item.ft_object, size, surface.dpi, item.glyph_index, angle, across_part, along_part)
        letters.append(letter._replace(left=across + letter.left, bottom=along + letter.bottom))
    return letters


@lru_cache(8_192)
def _letter(font: Any, size: float, dpi: float, index: int, angle: float, right: float, down: float) -> _Letter:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    font.set_size(size, dpi)
    # FreeType's units: 1/65,536 in the matrix, 1/64 pixel in the shift.
    turned = (0x10000 * np.array([[cos, -sin], [sin, cos]])).round().astype(int)
    font._set_transform(turned, [round(64 * right), round(-64 * down)])
    bitmap = font._render_glyph(index, get_hinting_flag(), RenderMode.NORMAL)  # type: ignore[no-untyped-call]
    coverage = np.array(bitmap.buffer)
    return _Letter(coverage, bitmap.left, coverage.shape[0] - bitmap.top)
