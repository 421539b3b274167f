"""The learning curve: the loss after each iteration, and where it was lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.plots import style
from trainer.plots.style import annotate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: How much of the axes' width and height the note takes, with its distance from the corner.
_WIDTH, _HEIGHT = 0.4, 0.25


def learning_curve(
    validation: Sequence[float],
    used: int,
    heading: style.Heading,
    folds: Sequence[Sequence[float]] = (),
    loss: str = "log loss",
) -> Figure:
    """Return the validation loss by iteration, with the lowest marked.

    The training loss is not drawn: measuring it makes a fit of 1,000 iterations about 30 % longer.

    Args:
        validation: The loss on the validation rows after each iteration.
        used: How many iterations the model keeps.
        heading: The plot's heading.
        folds: The losses in each fold of a cross-validation, of which ``validation`` is the mean; drawn thinly.
        loss: What the loss is called.
    """
    losses = np.asarray(validation)
    best = int(np.argmin(losses)) + 1
    figure = style.canvas(heading, _number(losses[best - 1]), f"lowest validation {loss}")
    axes = style.axes_in(figure)
    steps = np.arange(1, len(losses) + 1)
    # A lone point would be an invisible line.
    marker = "o" if len(losses) == 1 else None
    for fold in folds:
        axes.plot(np.arange(1, len(fold) + 1), fold, color=style.SKY, linewidth=1, alpha=0.8, zorder=3)
    axes.plot(steps, losses, color=style.BLUE, linewidth=2.4, marker=marker, zorder=4)
    shown = [losses, *map(np.asarray, folds)]
    low, high = min(float(some.min()) for some in shown), max(float(some.max()) for some in shown)
    reach = (high - low) or max(abs(high), 1e-6)
    low, high = low - 0.07 * reach, high + 0.05 * reach
    last = max(map(len, shown))
    axes.set_ylim(low, high)
    axes.set_xlim((0, last) if last > 1 else (0, 2))
    text = f"Lowest after {best:,}: {_number(losses[best - 1])}"
    if folds:
        text += f"\nMean of {len(folds)} folds\nThe model on all rows: {used:,}"
    elif used < last:
        text += f"\nStopped early: {used:,} of {last:,} kept"
    elif best < last:
        text += f"\nAfter all {last:,}: {_number(losses[-1])}"
    else:
        text = f"Lowest after all {last:,}: {_number(losses[-1])}"
    axes.axvline(best, color=style.ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    across = np.linspace(0, last, 201)
    drawn = np.stack([np.interp(across, np.arange(1, len(some) + 1), some) for some in shown])
    annotate(axes, text, (best, float(losses[best - 1])), _place((drawn - low) / (high - low)))
    style.round_scale(axes, "bottom", *axes.get_xlim(), "Boosting iterations", integer=True)
    style.round_scale(axes, "left", low, high, f"{loss[0].upper()}{loss[1:]} on the validation rows")
    style.baseline(axes)
    return figure


def _number(value: float) -> str:
    """Return a loss as people read it: a log loss is a small number, an error may be of any size."""
    return f"{value:.4f}" if 0.01 <= value < 1_000 else f"{value:,.4g}" if value < 0.01 else f"{value:,.1f}"


def _place(drawn: NDArray[np.float64]) -> dict[str, Any]:
    """Return where the note goes: at the right, above a curve that falls or below one that rises again.

    Args:
        drawn: (curves, steps) the height of each curve along the axes, as a share of their height.
    """
    beside = drawn[:, -int(_WIDTH * drawn.shape[1]) :]
    place = {"textcoords": "axes fraction", "ha": "right"}
    if np.sum(beside > 1 - _HEIGHT) > np.sum(beside < _HEIGHT):
        return {**place, "xytext": (0.97, 0.05), "va": "bottom"}
    return {**place, "xytext": (0.97, 0.95), "va": "top"}
