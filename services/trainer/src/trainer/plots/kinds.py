"""Which function draws a plot, by the plot's kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trainer.plots.calibration import draw as draw_calibration
from trainer.plots.class_confusion import draw as draw_class_confusion
from trainer.plots.class_curves import draw_precision_recall as draw_class_precision_recall
from trainer.plots.class_curves import draw_roc as draw_class_roc
from trainer.plots.confusion import draw as draw_confusion
from trainer.plots.contributions import draw as draw_contributions
from trainer.plots.importance import draw as draw_importance
from trainer.plots.learning_curve import draw as draw_learning
from trainer.plots.precision_recall import draw as draw_precision_recall
from trainer.plots.residuals import draw_predicted_actual, draw_residuals
from trainer.plots.roc import draw as draw_roc
from trainer.plots.sweep_curves import draw as draw_sweep_curves
from trainer.plots.sweep_parameters import draw as draw_sweep_parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainer.plots.content import Content

DRAW: Mapping[str, Callable[[Content], Figure]] = {
    "pr_curve": draw_precision_recall,
    "roc_curve": draw_roc,
    "confusion_matrix": draw_confusion,
    "calibration": draw_calibration,
    "class_pr_curves": draw_class_precision_recall,
    "class_roc_curves": draw_class_roc,
    "class_confusion": draw_class_confusion,
    "predicted_actual": draw_predicted_actual,
    "residuals": draw_residuals,
    "feature_importance": draw_importance,
    "learning_curve": draw_learning,
    "contributions": draw_contributions,
    "sweep_curves": draw_sweep_curves,
    "sweep_parameters": draw_sweep_parameters,
}


def draw(content: Content) -> Figure:
    """Return the figure of a plot.

    Raises:
        ValueError: There is no such kind of plot.
    """
    if content.kind not in DRAW:
        raise ValueError(f"there is no plot {content.kind!r}")
    return DRAW[content.kind](content)
