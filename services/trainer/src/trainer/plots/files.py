"""Writes plots as files: PNG in either theme, which carry what they show, and their tables as CSV."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.plot_style import PlotStyle
from trainer.plots import kinds, scales
from trainer.plots.content import PNG_TEXT, Content
from trainer.plots.style import DPI, Heading, canvas
from trainer.plots.themes import darken

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL import Image


def write_plot(content: Content, folder: Path, name: str, style: PlotStyle = "light") -> None:
    """Write a plot and its table: ``NAME.png``, ``NAME_dark.png`` or both, and ``NAME.csv``.

    Args:
        content: What it shows.
        folder: Where the files go; created where it does not exist.
        name: The files' name.
        style: The themes to draw it in.
    """
    figure = kinds.draw(content)
    carried = content.text()
    if style in ("light", "both"):
        save(figure, folder / f"{name}.png", carried)
    if style in ("dark", "both"):
        darken(figure)
        save(figure, folder / f"{name}_dark.png", carried)
    if content.table:
        content.write_table(folder / f"{name}.csv")


def save(figure: Figure, path: Path, carried: str = "") -> None:
    """Write a figure as a PNG file, with a text in it; the same figure gives the same bytes."""
    from PIL.PngImagePlugin import PngInfo

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    picture = _with_palette(np.asarray(figure.canvas.buffer_rgba()))  # type: ignore[attr-defined]
    info = PngInfo()
    if carried:
        info.add_text(PNG_TEXT, carried, zip=True)
    picture.save(path, format="png", compress_level=1, dpi=(DPI, DPI), pnginfo=info)


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
    scales.percent_scales(scales.axes_in(figure), "across", "upward")
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        save(figure, Path(folder) / "rehearsal.png")
