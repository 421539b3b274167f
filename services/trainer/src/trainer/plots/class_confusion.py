"""The confusion matrix of several classes: how often each class is called by each name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.task import Label
from trainer.plots import style

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
) -> Figure:
    """Return a confusion matrix; the arguments are those of ``class_pr_curves``."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    cells = class_counts(target, probability.argmax(axis=1), len(classes))
    rows = cells.sum(axis=1)
    # In the order of the codes, which is that of the names.
    shown = np.sort(np.argsort(-rows, kind="stable")[:SHOWN])
    count = len(shown)
    what = "accuracy" if count == len(classes) else f"accuracy; the {count} largest of {len(classes)} classes"
    figure = style.canvas(heading, f"{metrics['accuracy']:.1%}", what)
    size = float(np.interp(count, [3, 10, 20, 30], [12.5, 10.5, 8.0, 6.5]))
    names = [style.shortened(str(classes[code]), style.fitting(str(classes[code]), size, 0.16)) for code in shown]
    left = 0.075 + max(style.extent(name, size) for name in names)
    # Upright names below take as much of the height as they do of the width at the left.
    upright = max(style.extent(name, size) for name in names) > (style.RIGHT - left) / count * 0.95
    deep = max(style.extent(name, size) for name in names) * style.WIDTH / style.HEIGHT if upright else 0.03
    axes = style.axes_in(figure, left=left, right=style.RIGHT, bottom=0.075 + deep, top=0.86)
    corners, colours = [], []
    white = np.ones(3)
    for place, actual in enumerate(shown):
        for across, called in enumerate(shown):
            share = cells[actual, called] / max(int(rows[actual]), 1)
            hue = np.array(to_rgb(style.BLUE if actual == called else style.ORANGE))
            square = ((-0.48, -0.48), (0.48, -0.48), (0.48, 0.48), (-0.48, 0.48))
            corners.append([(across + x, place + y) for x, y in square])
            # Errors are few: their colour is stronger than that of what is right.
            strength = 0.55 * share if actual == called else 0.9 * share**0.5
            colours.append(white + (hue - white) * (0.05 + min(strength, 0.9)))
            if count <= _NUMBERED and cells[actual, called]:
                axes.text(across, place, f"{cells[actual, called]:,}", fontsize=size, color=style.INK, ha="center",
                          va="center")  # fmt: skip
    axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0))
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    style.scale(axes, "left", range(count), names, "Class", size=size, pad=4)
    beside = axes.get_xaxis_transform()
    for across, name in enumerate(names):
        axes.text(across, -0.012, name, transform=beside, fontsize=size, color=style.INK, ha="center", va="top",
                  rotation=90 if upright else 0, parse_math=False)  # fmt: skip
    figure.text((left + style.RIGHT) / 2, 0.028, "Called (numbers of rows; colours are shares of the class)",
                fontsize=12, color=style.INK, ha="center", va="center")  # fmt: skip
    return figure
