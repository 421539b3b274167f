"""The curves of several classes, each against the rest: precision-recall and ROC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import Label
from trainer.plots import style
from trainer.training.class_metrics import told_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: More curves in colour than this cannot be told apart; the others are drawn in grey.
COLOURED = 6
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, style.SKY, style.AMBER)
#: A curve's points and the area below it.
_Curve = tuple["NDArray[Any]", "NDArray[Any]", float]


def class_pr_curves(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Figure:
    """Return the precision-recall curve of each class against the rest.

    Args:
        target: (rows,) codes of the classes.
        probability: (rows, classes) probabilities.
        classes: What the classes are called.
        metrics: The metrics of these rows.
        heading: The plot's heading.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    def curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Curve:
        precision, recall, _ = precision_recall_curve(positive, scores, sample_weight=weight)
        area = float(average_precision_score(positive, scores, sample_weight=weight))
        return (*style.thinned(recall, precision), area)

    shown = f"{metrics['average_precision_macro']:.1%}", "macro average precision"
    figure = style.canvas(heading, *shown)
    titles = "Recall: share of a class that is found", "Precision: share of the finds that are right"
    return _drawn(figure, curve, target, probability, classes, titles, steps="post")


def class_roc_curves(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Figure:
    """Return the ROC curve of each class against the rest; the arguments are those of ``class_pr_curves``."""
    from sklearn.metrics import roc_auc_score, roc_curve

    def curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Curve:
        false_alarms, found, _ = roc_curve(positive, scores, sample_weight=weight)
        return (*style.thinned(false_alarms, found), float(roc_auc_score(positive, scores, sample_weight=weight)))

    figure = style.canvas(heading, f"{metrics['roc_auc_macro']:.1%}", "macro area under the ROC curve")
    titles = "False alarms: share of the others that are called so", "Recall: share of a class that is found"
    return _drawn(figure, curve, target, probability, classes, titles)


def _drawn(
    figure: Figure,
    curve: Callable[[NDArray[np.bool_], NDArray[np.float64]], _Curve],
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    titles: tuple[str, str],
    steps: str = "default",
) -> Figure:
    """Draw the curves: those with the smallest area in colour, which are the classes that are hard to tell apart."""
    axes = style.axes_in(figure, right=0.72)
    found = [(*curve(target == code, probability[:, code]), str(classes[code])) for code in told_apart(target)]
    ranked = sorted(found, key=lambda one: one[2])
    # The hardest last, so that it lies on top.
    for place, (x, y, _, _) in reversed(list(enumerate(ranked))):
        coloured = place < COLOURED
        axes.plot(
            x,
            y,
            drawstyle="steps-post" if steps == "post" else "default",
            color=_COLOURS[place] if coloured else style.GREY,
            linewidth=2.2 if coloured else 0.8,
            alpha=1 if coloured else 0.5,
            zorder=4 if coloured else 3,
        )
    for place, (_, _, area, name) in enumerate(ranked[:COLOURED]):
        height = 0.97 - place * 0.09
        axes.plot(
            [1.03, 1.07], [height, height], transform=axes.transAxes, color=_COLOURS[place], linewidth=4, clip_on=False
        )
        text = f"{area:.1%}\n{style.shortened(name, style.fitting(name, 10.5, 0.2))}"
        axes.text(1.09, height + 0.02, text, transform=axes.transAxes, fontsize=10.5, color=style.INK, va="top",
                  linespacing=1.25, parse_math=False)  # fmt: skip
    if len(ranked) > COLOURED:
        text = f"{len(ranked) - COLOURED} other classes,\nfrom {ranked[COLOURED][2]:.1%} to {ranked[-1][2]:.1%}"
        axes.text(1.03, 0.97 - COLOURED * 0.09, text, transform=axes.transAxes, fontsize=10.5, color=style.GREY,
                  va="top", linespacing=1.3)  # fmt: skip
    style.percent_scales(axes, *titles)
    return figure
