"""The learning curve: the loss after each iteration, and where it was lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.plots import notes, scales, style
from trainer.plots.content import Content

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Iterations that are drawn; there is no pixel for more.
DRAWN = 2_000


def learning_curve(
    validation: Sequence[float],
    used: int,
    heading: style.Heading,
    folds: Sequence[Sequence[float]] = (),
    loss: str = "log loss",
) -> Content:
    """Return what the validation loss by iteration shows, with the lowest marked.

    The training loss is not drawn: measuring it makes a fit of 1,000 iterations about 30 % longer.

    Args:
        validation: The loss on the validation rows after each iteration.
        used: How many iterations the model keeps.
        heading: The plot's heading.
        folds: The losses in each fold of a cross-validation, of which ``validation`` is the mean; drawn thinly.
        loss: What the loss is called.
    """
    losses = np.asarray(validation, dtype=np.float64)
    best = int(np.argmin(losses)) + 1
    last = max(map(len, [losses, *folds]))
    drawn = np.unique([*np.linspace(0, len(losses) - 1, min(len(losses), DRAWN)).astype(np.int64), best - 1])
    others = [np.asarray(fold, dtype=np.float64) for fold in folds]
    shown: dict[str, Any] = {
        "iterations": drawn + 1,
        "losses": losses[drawn],
        "folds": [[[int(at) + 1, float(fold[at])] for at in drawn if at < len(fold)] for fold in others],
        "best": [best, float(losses[best - 1])],
        "end": float(losses[-1]),
        "last": last,
        "used": used,
        "loss": loss,
    }
    table: dict[str, Any] = {
        "iteration": np.arange(1, last + 1),
        f"validation_{loss.replace(' ', '_')}": _padded(losses, last),
    }
    for number, fold in enumerate(others, 1):
        table[f"fold_{number}"] = _padded(fold, last)
    return Content("learning_curve", heading, shown, table)


def draw(content: Content) -> Figure:
    """Return the curve."""
    shown = content.shown
    steps, losses = np.asarray(shown["iterations"]), np.asarray(shown["losses"])
    (best, lowest), last, used, loss = shown["best"], shown["last"], shown["used"], shown["loss"]
    figure = style.canvas(content.heading, number(lowest), f"lowest validation {loss}", "Learning curve")
    axes = scales.axes_in(figure)
    # A lone point would be an invisible line.
    marker = "o" if len(losses) == 1 else None
    folds = [np.asarray(fold).T for fold in shown["folds"]]
    for fold in folds:
        axes.plot(*fold, color=style.SKY, linewidth=1, alpha=0.8, zorder=3)
    axes.plot(steps, losses, color=style.BLUE, linewidth=2.4, marker=marker, zorder=4)
    values = np.concatenate([losses, *(fold[1] for fold in folds)])
    low, high = float(values.min()), float(values.max())
    reach = (high - low) or max(abs(high), 1e-6)
    text = f"Lowest after {best:,}: {number(lowest)}"
    if folds:
        text += f"\nMean of {len(folds)} folds\nThe model on all rows: {used:,}"
    elif used < last:
        text += f"\nStopped early: {used:,} of {last:,} kept"
    elif best < last:
        text += f"\nAfter all {last:,}: {number(shown['end'])}"
    else:
        text = f"Lowest after all {last:,}: {number(lowest)}"
    low, high = low - 0.07 * reach, high + 0.05 * reach
    axes.set_xlim((0, last) if last > 1 else (0, 2))
    axes.set_ylim(low, high)
    curves = [(steps, losses), *((fold[0], fold[1]) for fold in folds)]
    # A curve that leaves no corner free gets a place above it.
    lacking = notes.headroom(axes, text, curves)
    high += (high - low) * lacking / (1 - lacking)
    axes.set_ylim(low, high)
    axes.axvline(best, color=style.ORANGE, linewidth=1.2, linestyle=":", zorder=3)
    guide = np.array([best, best]), np.array([low, high])
    notes.annotate(axes, text, (best, lowest), curves=curves, guides=[guide])
    scales.round_scale(axes, "bottom", *axes.get_xlim(), "Boosting iterations", integer=True)
    scales.round_scale(axes, "left", low, high, f"{loss[0].upper()}{loss[1:]} on the validation rows")
    scales.baseline(axes)
    return figure


def number(value: float) -> str:
    """Return a loss as people read it: a log loss is a small number, an error may be of any size."""
    return f"{value:.4f}" if 0.01 <= value < 1_000 else f"{value:,.4g}" if value < 0.01 else f"{value:,.1f}"


def _padded(losses: Any, length: int) -> list[float | str]:
    return [*map(float, losses), *[""] * (length - len(losses))]
