"""What a person sees: no text of a plot covers another, a curve or the edge; colours are told apart in both themes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.lines import Line2D
from PIL import Image
from trainer import plots
from trainer.config.plot_style import PlotStyle
from trainer.plots import style, themes
from trainer.plots.content import Content, parse_content

from . import shapes

Family = Callable[[], Iterator[tuple[str, Content]]]
FAMILIES: list[Family] = [shapes.binary, shapes.losses, shapes.features, shapes.classes, shapes.numbers, shapes.sweeps]


@cache
def plots_of(family: Family) -> tuple[tuple[str, Content], ...]:
    """Return a family's plots, each with its name. Their contents are computed once for all tests."""
    return tuple(family())


def texts_of(figure: Any) -> list[Any]:
    found = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    return [*found, *(text for text in figure.texts if text.get_text())]


def box_of(text: Any, renderer: Any) -> Any:
    patch = text.get_bbox_patch()
    # The box of a note; the padding of a bare label is no ink.
    boxed = patch is not None and patch.get_edgecolor()[3] > 0
    return patch.get_window_extent(renderer) if boxed else text.get_window_extent(renderer)


def faults(figure: Any) -> Iterator[str]:
    """Yield what is wrong with a figure: texts that touch or leave the picture, notes that cover a curve."""
    # Everything is laid out, and no pixel is drawn.
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), box_of(text, renderer)) for text in texts_of(figure)]
    for text, box in boxes:
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.width or box.y1 > figure.bbox.height:
            yield f"{text!r} leaves the picture"
    # Lines of text have room above and below their letters.
    for (text, box), (other, its) in itertools.combinations([(text, box.shrunk(0.97, 0.85)) for text, box in boxes], 2):
        if box.overlaps(its):
            yield f"{text!r} touches {other!r}"
    for axes in figure.axes:
        notes = [
            text
            for text in axes.texts
            if text.get_bbox_patch() is not None and text.get_bbox_patch().get_edgecolor()[3]
        ]
        for note in notes:
            box = note.get_bbox_patch().get_window_extent(renderer)
            for line in axes.lines:
                if curve_of(line, axes) and covers(box, line):
                    yield f"{note.get_text()!r} covers a curve"


def curve_of(line: Line2D, axes: Any) -> bool:
    return line.get_linestyle() == "-" and line.get_marker() in ("None", "o") and line.get_markersize() < 11


def covers(box: Any, line: Line2D) -> bool:
    corners = line.get_transform().transform(np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float))
    if line.get_drawstyle() == "steps-post":
        corners = np.column_stack([np.repeat(corners[:, 0], 2)[1:], np.repeat(corners[:, 1], 2)[:-1]])
    dense = np.linspace(corners[:-1], corners[1:], 50).reshape(-1, 2) if len(corners) > 1 else corners
    return bool(box.count_contains(dense))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_nothing_touches(family: Family) -> None:
    """In no plot of many shapes does a text touch another, a note cover a curve, or anything leave the picture."""
    found = {name: list(faults(plots.draw(content))) for name, content in plots_of(family)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_drawn_anew_from_its_text(family: Family) -> None:
    """A plot that is drawn from what its file carries is the same."""
    for name, content in itertools.islice(plots_of(family), 0, None, 11):
        pictures = []
        for one in (content, parse_content(content.text())):
            figure: Any = plots.draw(one)
            figure.canvas.draw()
            pictures.append(np.asarray(figure.canvas.buffer_rgba()).astype(int))
        # Rounded numbers move an edge by less than a pixel.
        assert np.mean(np.abs(pictures[0] - pictures[1]) > 60) < 0.002, name


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_tables_have_equal_columns(family: Family) -> None:
    for name, content in plots_of(family):
        assert content.table, name
        assert len({len(column) for column in content.table.values()}) == 1, name


@pytest.mark.parametrize("count", [1, 2])
def test_few_features_leave_no_void(count: int) -> None:
    """The picture is as high as its rows need: most of its height has ink in it."""
    for name, content in plots_of(shapes.features):
        if name.split()[1] == str(count):
            figure: Any = plots.draw(content)
            figure.canvas.draw()
            ink = np.asarray(figure.canvas.buffer_rgba())[..., :3].min(axis=2).min(axis=1) < 200
            gaps = np.diff(np.flatnonzero(np.concatenate([[True], ink, [True]])))
            assert gaps.max() < 60, name
            assert figure.get_figheight() < style.HEIGHT / 2


# Colours --------------------------------------------------------------------------------------------------------------


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough(theme: int) -> None:
    """Letters have a contrast of 4.5 with their ground, curves one of 3: level AA of WCAG."""
    colours = {name: shades[theme] for name, shades in themes.COLOURS.items()}
    for name in ("ink", "grey", "blue"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for name in ("blue", "orange", "green", "pink", "sky", "amber", *(f"step{n}" for n in range(themes.STEPS))):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    # Letters are written on cells of these colours, which are let through by half at most.
    for name in ("blue", "orange"):
        parts = [[int(colours[which][at : at + 2], 16) for at in (1, 3, 5)] for which in (name, "paper")]
        cell = "#" + "".join(f"{round(0.55 * one + 0.45 * other):02x}" for one, other in zip(*parts, strict=True))
        assert contrast(colours["ink"], cell) >= 4.5, name


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("missing", ["red", "green"])
def test_curves_are_told_apart_without_a_colour(theme: int, missing: str) -> None:
    """For those who do not see red or green, two curves differ in colour or in their dashes."""
    # Machado, Oliveira and Fernandes 2009, severity 1.
    seen = {
        "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }[missing]
    light = {shades[0]: shades[theme] for shades in themes.COLOURS.values()}
    lines = [(light[colour], dashes) for colour, dashes in style.LINES]
    for (one, dashes), (other, its) in itertools.combinations(lines, 2):
        rgb = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (one, other)])
        apart = float(np.linalg.norm(np.array(seen) @ (rgb[0] - rgb[1])))
        assert apart > 40 or dashes != its, (one, other)


@pytest.mark.slow
def test_dark_plot_has_only_dark_colours() -> None:
    """No colour of the light theme is left, whatever is drawn: not even between two colours."""
    for family in FAMILIES:
        for name, content in itertools.islice(plots_of(family), 0, None, 23):
            figure: Any = plots.draw(content)
            themes.darken(figure)
            figure.canvas.draw()
            pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            paper = [int(themes.COLOURS["paper"][1][at : at + 2], 16) for at in (1, 3, 5)]
            np.testing.assert_array_equal(pixels[0, 0], paper, err_msg=name)
            assert np.median(pixels) < 60, name
            # Nothing is as bright as paper: letters are the brightest.
            assert pixels.max() <= 0xF5, name


@pytest.mark.slow
def test_every_artist_gets_its_dark_colour() -> None:
    """Of one plot of each kind, no line, dot, band, note or letter keeps a colour of the light theme."""
    # These two families take long to compute: the first ones draw what the later ones do.
    enough = {shapes.binary: 60, shapes.classes: 9}
    kinds = {
        content.kind: content for family in FAMILIES for _, content in itertools.islice(family(), enough.get(family))
    }
    assert len(kinds) == 14
    own_to_light = {shades[0].lower() for shades in themes.COLOURS.values()}
    for kind, content in kinds.items():
        figure: Any = plots.draw(content)
        assert colours_of(figure) & own_to_light, kind
        themes.darken(figure)
        assert not colours_of(figure) & own_to_light, kind


def colours_of(figure: Any) -> set[str]:
    """Return the colours of all artists of a figure, without their alpha."""
    found = set()
    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            value = getattr(artist, f"get_{part}", lambda: "none")()
            if not (isinstance(value, str) and value in ("none", "auto")):
                found |= {to_hex(colour) for colour in to_rgba_array(value)}
    return found


@pytest.mark.parametrize(
    ("chosen", "themes_of_files"),
    [("light", {"a.png": 0}), ("dark", {"a_dark.png": 1}), ("both", {"a.png": 0, "a_dark.png": 1})],
)
def test_files_are_in_the_chosen_themes(chosen: PlotStyle, themes_of_files: dict[str, int], tmp_path: Path) -> None:
    """And what is drawn stands beside them as a table, once."""
    _, content = plots_of(shapes.losses)[0]
    plots.write_plot(content, tmp_path, "a", chosen)
    assert {path.name for path in tmp_path.iterdir()} == {*themes_of_files, "a.csv"}
    for name, theme in themes_of_files.items():
        with Image.open(tmp_path / name) as picture:
            ground = to_hex(np.asarray(picture.convert("RGB"))[0, 0] / 255).upper()
        assert ground == themes.COLOURS["paper"][theme], name
