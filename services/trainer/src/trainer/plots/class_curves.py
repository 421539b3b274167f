"""The curves of several classes, each against the rest: precision-recall and ROC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.task import Label
from trainer.plots import notes, scales, style
from trainer.plots.content import Content
from trainer.plots.long_names import cut_apart
from trainer.training.multiclass_metrics import told_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: More curves in colour than this cannot be told apart; the others are drawn in grey.
COLOURED = len(style.LINES)
#: Curves that are drawn; of hundreds, grey on grey, nobody sees one more.
DRAWN = 60
#: Points of a curve, at most, as steps from 0 to 1: fewer where there are many curves.
_STEPS = (1_500, 300)
#: A curve's points and the area below it.
_Curve = tuple["NDArray[Any]", "NDArray[Any]", float]


def class_pr_curves(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Content:
    """Return what the precision-recall curves of each class against the rest show.

    Args:
        target: (rows,) codes of the classes.
        probability: (rows, classes) probabilities.
        classes: What the classes are called.
        metrics: The metrics of these rows.
        heading: The plot's heading.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    steps = _STEPS[len(classes) > COLOURED]

    def curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Curve:
        precision, recall, _ = precision_recall_curve(positive, scores, sample_weight=weight)
        area = float(average_precision_score(positive, scores, sample_weight=weight))
        x, y = style.thinned(recall, precision, steps=steps)
        return x, y, area

    macro = float(metrics["average_precision_macro"])
    return _content("class_pr_curves", curve, target, probability, classes, macro, heading, ("recall", "precision"))


def class_roc_curves(
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    metrics: Mapping[str, float],
    heading: style.Heading,
    weight: NDArray[np.float64] | None = None,
) -> Content:
    """Return what the ROC curves of each class against the rest show; it takes what ``class_pr_curves`` takes."""
    from sklearn.metrics import roc_auc_score, roc_curve

    steps = _STEPS[len(classes) > COLOURED]

    def curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Curve:
        false_alarms, found, _ = roc_curve(positive, scores, sample_weight=weight)
        x, y = style.thinned(false_alarms, found, steps=steps)
        return x, y, float(roc_auc_score(positive, scores, sample_weight=weight))

    macro = float(metrics["roc_auc_macro"])
    named = ("false_positive_rate", "recall")
    return _content("class_roc_curves", curve, target, probability, classes, macro, heading, named)


def _content(
    kind: str,
    curve: Callable[[NDArray[np.bool_], NDArray[np.float64]], _Curve],
    target: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[Label],
    macro: float,
    heading: style.Heading,
    named: tuple[str, str],
) -> Content:
    found = [(*curve(target == code, probability[:, code]), str(classes[code])) for code in told_apart(target)]
    # Those with the smallest area are hard to tell apart.
    ranked = sorted(found, key=lambda one: one[2])
    shown = {
        "curves": [[np.round(x, 4).tolist(), np.round(y, 4).tolist()] for x, y, _, _ in ranked[:DRAWN]],
        "areas": [area for _, _, area, _ in ranked],
        "names": [name for *_, name in ranked[:COLOURED]],
        "macro": macro,
    }
    table = {
        "class": [name for x, _, _, name in ranked for _ in x],
        named[0]: np.concatenate([x for x, *_ in ranked]) if ranked else [],
        named[1]: np.concatenate([y for _, y, *_ in ranked]) if ranked else [],
    }
    return Content(kind, heading, shown, table)


def draw_precision_recall(content: Content) -> Figure:
    """Return the precision-recall curves."""
    titles = "Recall: share of a class that is found", "Precision: share of the finds that are right"
    return _drawn(content, "macro average precision", "Precision and recall of each class", titles, "steps-post")


def draw_roc(content: Content) -> Figure:
    """Return the ROC curves."""
    titles = "False alarms: share of the others that are called so", "Recall: share of a class that is found"
    return _drawn(content, "macro area under the ROC curve", "ROC curve of each class", titles, "default")


def _drawn(content: Content, of: str, what: str, titles: tuple[str, str], steps: Any) -> Figure:
    """Draw the curves: those of the classes that are hardest to tell apart in colour, the hardest on top."""
    shown = content.shown
    figure = style.canvas(content.heading, f"{shown['macro']:.1%}", of, what)
    axes = scales.axes_in(figure, right=0.72)
    areas, names = shown["areas"], shown["names"]
    for place, (x, y) in reversed(list(enumerate(shown["curves"]))):
        coloured = place < len(style.LINES)
        colour, dashes = style.LINES[place] if coloured else (style.GREY, "solid")
        axes.plot(x, y, drawstyle=steps, color=colour, linestyle=dashes, linewidth=2.2 if coloured else 0.8,
                  alpha=1 if coloured else 0.5, zorder=4 if coloured else 3)  # fmt: skip
    size = 10.5
    entries = [
        notes.Entry((f"{area:.1%}", name), *style.LINES[place])
        for place, (area, name) in enumerate(zip(areas, cut_apart(names, size, 0.2), strict=False))
    ]
    others = areas[len(entries) :]
    more = f"{len(others)} other classes,\nfrom {others[0]:.1%} to {others[-1]:.1%}" if others else ""
    notes.legend(axes, 1.03, entries, more, size=size)
    scales.percent_scales(axes, *titles)
    return figure
