"""The canvas that remembers letters draws what matplotlib's own draws, and nothing of the picture before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from trainer import plots
from trainer.accelerators import matplotlib_canvas


def drawn(kind: type[FigureCanvasAgg], text: str, **style: Any) -> Any:
    figure = Figure(figsize=(4, 2), dpi=120)
    kind(figure)
    figure.text(0.503, 0.507, text, ha="center", va="center", **style)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).astype(np.float64)  # type: ignore[attr-defined]


@pytest.mark.parametrize("rotation", [0, 90, 33])
@pytest.mark.parametrize("text", ["Recall: share of the positives", "größer ≥ 5\nsecond line", r"$\frac{1}{2}$", ""])
def test_letters_are_where_matplotlib_puts_them(text: str, rotation: int) -> None:
    own, plain = (
        drawn(kind, text, rotation=rotation, fontsize=13) for kind in (matplotlib_canvas.Canvas, FigureCanvasAgg)
    )
    # A quarter of a pixel to either side changes the edges' shades.
    assert np.abs(own - plain).max() < 160
    assert np.abs(own - plain).mean() < 1.5
    assert own.sum() == pytest.approx(plain.sum(), rel=2e-3)


def test_same_text_is_drawn_the_same_again_from_memory() -> None:
    first = drawn(matplotlib_canvas.Canvas, "again and again")
    texts, letters = matplotlib_canvas._letters.cache_info(), matplotlib_canvas._letter.cache_info()
    np.testing.assert_array_equal(drawn(matplotlib_canvas.Canvas, "again and again"), first)
    assert matplotlib_canvas._letters.cache_info().misses == texts.misses
    # Another text takes its letters from memory where they start at the same quarter of a pixel.
    drawn(matplotlib_canvas.Canvas, "again and  again")
    assert matplotlib_canvas._letters.cache_info().misses == texts.misses + 1
    assert matplotlib_canvas._letter.cache_info().hits > letters.hits


def test_nothing_is_left_of_the_picture_before() -> None:
    blank = drawn(matplotlib_canvas.Canvas, "")
    drawn(matplotlib_canvas.Canvas, "something")
    np.testing.assert_array_equal(drawn(matplotlib_canvas.Canvas, ""), blank)
    assert np.unique(blank).tolist() == [255]


def test_pictures_that_are_saved_side_by_side_are_each_its_own(tmp_path: Path) -> None:
    def save(name: str) -> bytes:
        file = tmp_path / f"{name}.png"
        plots.save(plots.learning_curve([0.7, 0.4 + len(name) / 100], 2, plots.Heading(name)), file)
        return file.read_bytes()

    names = ["x" * count for count in range(1, 13)]
    expected = [save(name) for name in names]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(save, names)) == expected
