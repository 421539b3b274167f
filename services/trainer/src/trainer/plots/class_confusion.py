"""The confusion matrix of several classes: how many rows of each class were called which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.task import Label
from trainer.plots import scales, style
from trainer.plots.content import Content
from trainer.plots.long_names import cut_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Of more classes, those with the most rows are drawn.
SHOWN = 30
#: Of more, cells have no room for numbers.
_NUMBERED = 20


def class_counts(target: NDArray[np.int64], called: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the (classes, classes) numbers of rows by actual (first axis) and predicted class (second)."""
    return np.bincount(classes * target + called, minlength=classes**2).reshape(classes, classes)


def class_confusion(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    metrics: Mapping[str, float],
    heading: style.Heading,
) -> Content:
    """Return what a confusion matrix shows; the arguments are those of ``class_pr_curves``."""
    cells = class_counts(target, probability.argmax(axis=1), len(classes))
    # In the order of the codes, which is that of the names.
    largest = np.sort(np.argsort(-cells.sum(axis=1), kind="stable")[:SHOWN])
    names = [str(classes[code]) for code in largest]
    shown = {
        "cells": cells[np.ix_(largest, largest)],
        "rows": cells.sum(axis=1)[largest],
        "names": names,
        "classes": len(classes),
        "accuracy": float(metrics["accuracy"]),
    }
    # Of hundreds of classes, the pairs that no row is of are left out.
    actual, called = np.nonzero(cells)
    if len(classes) <= SHOWN:
        actual, called = (part.ravel() for part in np.indices(cells.shape))
    table = {
        "actual": [classes[int(code)] for code in actual],
        "predicted": [classes[int(code)] for code in called],
        "rows": cells[actual, called],
    }
    return Content("class_confusion", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the matrix."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    cells, rows = np.asarray(content.shown["cells"]), np.asarray(content.shown["rows"])
    names, classes = content.shown["names"], content.shown["classes"]
    count = len(names)
    of = "accuracy" if count == classes else f"accuracy; the {count} largest of {classes} classes"
    figure = style.canvas(content.heading, f"{content.shown['accuracy']:.1%}", of, "Confusion matrix")
    size = float(np.interp(count, [3, 10, 20, 30], [12.5, 10.5, 8.0, 6.5]))
    names = cut_apart(names, size, 0.16)
    left = 0.075 + max(style.extent(name, size) for name in names)
    # Upright names below take as much of the height as they do of the width at the left.
    upright = max(style.extent(name, size) for name in names) > (style.RIGHT - left) / count * 0.95
    deep = max(style.extent(name, size) for name in names) * style.WIDTH / style.HEIGHT if upright else 0.03
    axes = scales.axes_in(figure, left=left, right=style.RIGHT, bottom=0.075 + deep, top=0.86)
    corners, colours = [], []
    for place in range(count):
        for across in range(count):
            share = cells[place, across] / max(int(rows[place]), 1)
            square = ((-0.48, -0.48), (0.48, -0.48), (0.48, 0.48), (-0.48, 0.48))
            corners.append([(across + x, place + y) for x, y in square])
            # Errors are few: their colour is stronger than that of what is right.
            strength = 0.5 * share if place == across else 0.5 * share**0.5
            colours.append(to_rgba(style.BLUE if place == across else style.ORANGE, 0.05 + strength))
            if count <= _NUMBERED and cells[place, across]:
                axes.text(across, place, f"{cells[place, across]:,}", fontsize=size, color=style.INK, ha="center",
                          va="center")  # fmt: skip
    axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0))
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    scales.scale(axes, "left", range(count), names, "Class", size=size, pad=4)
    beside = axes.get_xaxis_transform()
    for across, name in enumerate(names):
        axes.text(across, -0.012, name, transform=beside, fontsize=size, color=style.INK, ha="center", va="top",
                  rotation=90 if upright else 0, parse_math=False)  # fmt: skip
    cell = "numbers of rows; colours" if count <= _NUMBERED else "colours"
    figure.text((left + style.RIGHT) / 2, 0.028, f"Called ({cell} are shares of the class)",
                fontsize=12, color=style.INK, ha="center", va="center")  # fmt: skip
    return figure
