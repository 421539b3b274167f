"""Draws the plots of runs and sweeps: one module a plot, with its look in ``style``.

Each plot's function returns matplotlib's figure, for tests and other programs to look into; ``save`` writes it.
Only matplotlib's objects are used: pyplot would cost import time, memory and global state.
"""

from trainer.plots.calibration import calibration_curve
from trainer.plots.confusion import confusion_matrix
from trainer.plots.contributions import contributions, write_contributions
from trainer.plots.importance import feature_importance
from trainer.plots.learning import learning_curve
from trainer.plots.precision_recall import pr_curve
from trainer.plots.roc import roc_curve
from trainer.plots.run_plots import write_run_plots
from trainer.plots.style import Heading, save, warm_up
from trainer.plots.sweep_curves import Curve, sweep_curves
from trainer.plots.sweep_parameters import sweep_parameters

__all__ = [
    "Curve",
    "Heading",
    "calibration_curve",
    "confusion_matrix",
    "contributions",
    "feature_importance",
    "learning_curve",
    "pr_curve",
    "roc_curve",
    "save",
    "sweep_curves",
    "sweep_parameters",
    "warm_up",
    "write_contributions",
    "write_run_plots",
]
