"""The plots of runs and sweeps: one module a plot, with their look in ``style``, ``scales`` and ``notes``.

A plot's function returns its content: what it shows. ``draw`` makes matplotlib's figure of it, ``write_plot`` files.
Only matplotlib's objects are used: pyplot would cost import time, memory and global state.
"""

from trainer.plots.calibration import calibration_curve
from trainer.plots.confusion import confusion_matrix
from trainer.plots.content import Content
from trainer.plots.contributions import contributions
from trainer.plots.files import save, warm_up, write_plot
from trainer.plots.importance import feature_importance
from trainer.plots.kinds import draw
from trainer.plots.learning_curve import learning_curve
from trainer.plots.precision_recall import pr_curve
from trainer.plots.roc import roc_curve
from trainer.plots.run_plots import write_run_plots
from trainer.plots.style import Heading
from trainer.plots.sweep_curves import Curve, sweep_curves
from trainer.plots.sweep_parameters import sweep_parameters

__all__ = [
    "Content",
    "Curve",
    "Heading",
    "calibration_curve",
    "confusion_matrix",
    "contributions",
    "draw",
    "feature_importance",
    "learning_curve",
    "pr_curve",
    "roc_curve",
    "save",
    "sweep_curves",
    "sweep_parameters",
    "warm_up",
    "write_plot",
    "write_run_plots",
]
