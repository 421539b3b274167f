"""matplotlib's canvas, with a memory for letters: drawing the same ones again takes a third of a picture's time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg, get_hinting_flag
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
    """Draws as its base does, but looks letters up. Should a later matplotlib not call this, it is slower, no more."""

    def _draw_text_glyphs_and_boxes(
        self, gc: Any, x: float, y: float, angle: float, glyphs: Iterable[Any], boxes: Any
    ) -> None:
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for font, size, index, slant, extend, dx, dy in glyphs:
            # The letters' y is upwards, the picture's downwards.
            right, right_part = _stepped(x + dx * cos - dy * sin)
            down, down_part = _stepped(y - dx * sin - dy * cos)
            letter = _letter(font, size, self.dpi, index, angle, slant, extend, right_part, down_part)
            self._renderer.draw_text_image(letter.coverage, right + letter.left, down + letter.bottom, 0, gc)
        if boxes:  # fractions' and roots' lines
            super()._draw_text_glyphs_and_boxes(gc, x, y, angle, (), boxes)  # type: ignore[no-untyped-call]


class Canvas(FigureCanvasAgg):
    """A canvas that shares its surface, and what was measured on it, with the others of its size.

    What it shows holds until the next one is drawn.
    """

    def get_renderer(self) -> RendererAgg:
        """Return the surface that figures of this size are drawn on."""
        width, height = self.get_width_height(physical=True)
        self.renderer = surface = _surface(width, height, self.figure.dpi)
        return surface


@lru_cache(8)
def _surface(width: int, height: int, dpi: float) -> _Renderer:
    return _Renderer(width, height, dpi)  # type: ignore[no-untyped-call]


def _stepped(value: float) -> tuple[int, float]:
    """Return a coordinate as whole pixels and a rest, rounded to a step."""
    steps = round(value * _STEPS)
    return steps // _STEPS, steps % _STEPS / _STEPS


@lru_cache(8_192)
def _letter(
    font: Any, size: float, dpi: float, index: int, angle: float, slant: float, extend: float, right: float, down: float
) -> _Letter:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turned = np.array([[cos, -sin], [sin, cos]]) @ np.array([[extend, extend * slant], [0, 1]])
    font.set_size(size, dpi)
    # FreeType's units: 1/65,536 in the matrix, 1/64 pixel in the shift.
    font._set_transform((0x10000 * turned).round().astype(int), [round(64 * right), round(-64 * down)])
    bitmap = font._render_glyph(index, get_hinting_flag(), RenderMode.NORMAL)  # type: ignore[no-untyped-call]
    coverage = np.array(bitmap.buffer)
    return _Letter(coverage, bitmap.left, coverage.shape[0] - bitmap.top)
