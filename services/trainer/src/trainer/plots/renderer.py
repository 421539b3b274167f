"""Draws a plot's texts quickly: each is laid out once in a process, and drawn as one picture.

matplotlib loads every letter's outline anew, three times for each text, which took two thirds of a plot's time. Here
Pillow lays a line of text out with the same font. What comes out is kept: plots have most of their texts in common, and
a sweep's processes share what ``warm_up`` has drawn before they are forked.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties
    from numpy.typing import NDArray
    from PIL.ImageFont import FreeTypeFont

#: A line of text: how far it reaches from the start of its baseline to the right, upwards and downwards (pixels), its
#: covered pixels (height, width; 0 to 255), and where their upper left corner is.
_Line = tuple[float, float, float, "NDArray[np.uint8]", tuple[int, int]]
_KNOWN = 1_024
#: Letters that stand side by side. Others, as those of Arabic, change with their neighbours: matplotlib knows how.
_SIMPLE = (range(0x20, 0x300), range(0x370, 0x590), range(0x2010, 0x2028), range(0x2030, 0x2600))


class Renderer(RendererAgg):
    """matplotlib's renderer, but for lines of text whose letters are all in the first font."""

    def __init__(self, width: float, height: float, dpi: float) -> None:
        super().__init__(width, height, dpi)  # type: ignore[no-untyped-call]

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> tuple[float, float, float]:
        """Return a line's width, height and descent in pixels, by matplotlib's interface."""
        line = None if ismath else _line(s, prop, self.dpi)
        if line is None:
            return super().get_text_width_height_descent(s, prop, ismath)  # type: ignore[no-any-return, no-untyped-call]
        width, ascent, descent, *_ = line
        return width, ascent + descent, descent

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
        """Draw a line of text, by matplotlib's interface."""
        line = None if ismath or angle not in (0, 90) else _line(s, prop, self.dpi)
        if line is None:
            super().draw_text(gc, x, y, s, prop, angle, ismath=ismath, mtext=mtext)  # type: ignore[no-untyped-call]
            return
        *_, covered, (left, top) = line
        if not covered.size:
            return
        # From the start of the baseline, with y upwards from the bottom as draw_image takes it.
        across, up = left, -(top + covered.shape[0])
        if angle == 90:
            across, up, covered = top, left, np.rot90(covered)
        red, green, blue, alpha = gc.get_rgb()
        picture = np.empty((*covered.shape, 4), dtype=np.uint8)
        picture[..., :3] = np.round([255 * red, 255 * green, 255 * blue])
        picture[..., 3] = covered if alpha == 1 else covered * alpha
        # The picture's first row is its lowest.
        self.draw_image(gc, round(x + across), round(self.height - y + up), picture[::-1])


class Canvas(FigureCanvasAgg):
    """matplotlib's canvas with this renderer."""

    def get_renderer(self) -> Renderer:
        """Return the renderer, which is made once."""
        known = getattr(self, "renderer", None)
        if not isinstance(known, Renderer):
            width, height = self.figure.bbox.size
            self.renderer = known = Renderer(float(width), float(height), self.figure.dpi)
        return known


def _line(text: str, prop: FontProperties, dpi: float) -> _Line | None:
    from matplotlib.font_manager import fontManager

    # A path, and the number of the font in its file; matplotlib looks properties up once.
    path = fontManager.findfont(prop)
    return _laid_out(text, str(path), getattr(path, "face_index", 0), prop.get_size_in_points() * dpi / 72)


@lru_cache(_KNOWN)
def _laid_out(text: str, path: str, index: int, size: float) -> _Line | None:
    if not set(text) <= _letters(path, index):
        return None
    font = _font(path, index, size)
    _, top, right, bottom = font.getbbox(text, anchor="ls")
    mask, offset = font.getmask2(text, mode="L", anchor="ls")
    covered = np.frombuffer(bytes(mask), dtype=np.uint8).reshape(mask.size[::-1])
    width = max(float(font.getlength(text)), float(right))
    return width, max(0.0, -float(top)), max(0.0, float(bottom)), covered, (int(offset[0]), int(offset[1]))


@cache
def _font(path: str, index: int, size: float) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(path, size, index, layout_engine=ImageFont.Layout.BASIC)


@cache
def _letters(path: str, index: int) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    known = FT2Font(path, face_index=index).get_charmap()
    return frozenset(chr(code) for some in _SIMPLE for code in some if code in known)
