"""The renderer of plots: its texts are where matplotlib's own are and as wide, and each is laid out once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from trainer.plots import renderer, style

SIZES = (9.5, 12.0, 17.0)


def drawn(canvas: Any, text: str, **options: Any) -> tuple[Any, Any]:
    """Return where a text's ink is (left, top, right, bottom; pixels), and how dark the picture is in all."""
    figure = Figure(figsize=(style.WIDTH, style.HEIGHT), dpi=style.DPI, facecolor="white")
    made: Any = canvas(figure)
    figure.text(0.4, 0.5, text, parse_math=False, color="black", **options)
    made.draw()
    ink = 255 - np.asarray(made.buffer_rgba())[..., 0].astype(int)
    rows, columns = np.flatnonzero(ink.max(axis=1) > 40), np.flatnonzero(ink.max(axis=0) > 40)
    return np.array([columns[0], rows[0], columns[-1], rows[-1]]), ink.sum()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("angle", [0, 90])
@pytest.mark.parametrize("text", ["Recall: 86.1 %", "größer ≥ 5, yes", "two\nlines", "特徴 x", "مرحبا", "45°"])
def test_text_is_where_matplotlib_draws_it(text: str, angle: int, size: float) -> None:
    """Ink begins and ends within two pixels of matplotlib's own; Chinese and Arabic letters are drawn as well."""
    options = {"fontsize": size, "rotation": angle, "va": "center", "ha": "left", "fontfamily": style._fonts()}
    place, darkness = drawn(renderer.Canvas, text, **options)
    expected, its = drawn(FigureCanvasAgg, text, **options)
    # Letters of a long line are rounded one by one.
    assert np.abs(place - expected).max() <= 2 + 0.03 * (expected[2:] - expected[:2]).max()
    assert darkness == pytest.approx(its, rel=0.15)


def test_slanted_text_takes_matplotlibs_way() -> None:
    place, darkness = drawn(renderer.Canvas, "slanted", rotation=30)
    expected, its = drawn(FigureCanvasAgg, "slanted", rotation=30)
    assert np.abs(place - expected).max() <= 2
    assert darkness == pytest.approx(its, rel=0.01)


def test_measured_width_is_the_drawn_one() -> None:
    """What a layout reckons with is what is drawn: no letter reaches beyond its box."""
    for text in ("Wj", "f1", "average precision", "100%", "_x_"):
        figure: Any = style.canvas(style.Heading(""), "", "")
        label = figure.text(0.5, 0.5, text, fontsize=13, color="black", va="baseline")
        figure.canvas.draw()
        box = label.get_window_extent(figure.canvas.get_renderer())
        ink = np.argwhere(np.asarray(figure.canvas.buffer_rgba())[..., 0] < 200)
        below = figure.bbox.height
        assert box.x0 - 1 <= ink[:, 1].min()
        assert ink[:, 1].max() <= box.x1 + 1
        assert box.y0 - 1 <= below - 1 - ink[:, 0].max()
        assert below - 1 - ink[:, 0].min() <= box.y1 + 1


def test_text_is_laid_out_once() -> None:
    """Plots of one look share their texts; those of other sizes or weights are their own."""
    renderer._laid_out.cache_clear()
    for weight, size in (("normal", 12), ("normal", 12), ("bold", 12), ("normal", 13)):
        drawn(renderer.Canvas, "Recall", fontsize=size, fontweight=weight)
    assert renderer._laid_out.cache_info().misses == 3


def test_translucent_text_lets_through() -> None:
    figure: Any = style.canvas(style.Heading(""), "", "")
    figure.text(0.5, 0.5, "████", color="black", alpha=0.5, fontsize=30)
    figure.canvas.draw()
    assert np.asarray(figure.canvas.buffer_rgba())[..., 0].min() == pytest.approx(128, abs=2)
