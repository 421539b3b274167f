"""What a model predicts: one of two classes, one of several, or a number; and the metrics that follow from that.

A row for each task. Where a part of the trainer does something else for each task, it has one table or folder with a
row or module for each: ``training.tasks`` fits and judges models, ``plots.run_plots`` says which plots are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trainer.config.selection_metric import METRICS, SHORT, Metric
from trainer.util.errors import InputError

TaskName = Literal["binary", "multiclass", "regression"]
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)
#: A class as the target column has it.
Label = int | str


@dataclass(frozen=True)
class Task:
    """One task. ``metrics`` are computed on the test rows, in the order in which they are shown.

    ``choices`` are what variants can be chosen by, the default first. ``loss`` is the metric whose history a run has,
    ``drawn`` the one in a sweep's plots. ``has_classes`` says that each row is of a class, ``has_threshold`` that one
    decides between two.
    """

    name: TaskName
    metrics: tuple[str, ...]
    choices: tuple[Metric, ...]
    loss: str
    drawn: Metric
    has_classes: bool = True
    has_threshold: bool = False

    @property
    def heads(self) -> dict[str, str]:
        """The metrics, and how a table heads them."""
        return {name: HEADS.get(name, SHORT.get(name, name.replace("_", " "))) for name in self.metrics}

    @property
    def shown(self) -> dict[str, str]:
        """The metrics that a table of variants has room for."""
        return dict(list(self.heads.items())[:6])

    def answer_type(self, classes: Sequence[Label]) -> str:
        """Return MLflow's type of what a model answers: of two classes the code, of several the class itself.

        Args:
            classes: The classes, as the target column has them.
        """
        if not self.has_classes:
            return "double"
        return "string" if not self.has_threshold and any(isinstance(label, str) for label in classes) else "long"

    def metric(self, wanted: str | None) -> Metric:
        """Return what variants are chosen by: the metric that is wanted, or the task's own.

        Raises:
            InputError: The task has no such metric.
        """
        if wanted is None:
            return self.choices[0]
        for metric in self.choices:
            if metric == wanted:
                return metric
        raise InputError(
            f"--metric: {wanted!r} is none of a {self.name} target's; it must be one of {', '.join(self.choices)}"
        )


#: What stands above a metric's column where that is not the metric's short name.
HEADS: Mapping[str, str] = {"precision": "precision", "recall": "recall"}

BINARY = Task(
    "binary",
    ("f1", "precision", "recall", "average_precision", "roc_auc", "log_loss"),
    METRICS,
    "log_loss",
    "average_precision",
    has_threshold=True,
)
MULTICLASS = Task(
    "multiclass",
    ("f1_macro", "precision_macro", "recall_macro", "accuracy", "average_precision_macro", "roc_auc_macro", "log_loss"),
    ("log_loss", "f1_macro", "accuracy", "average_precision_macro", "roc_auc_macro"),
    "log_loss",
    "average_precision_macro",
)
REGRESSION = Task(
    "regression",
    ("rmse", "mae", "r2", "absolute_error_p50", "absolute_error_p90", "error_p05", "error_p50", "error_p95"),
    ("rmse", "mae", "r2", "quantile_loss"),
    "rmse",
    "rmse",
    has_classes=False,
)
TASKS: Mapping[TaskName, Task] = {task.name: task for task in (BINARY, MULTICLASS, REGRESSION)}
#: All that variants of any task can be chosen by.
CHOICES: tuple[Metric, ...] = tuple(dict.fromkeys(metric for task in TASKS.values() for metric in task.choices))
