"""What depends on the task when a model is fitted and judged: a module for each task, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.config.task import Label, TaskName
from trainer.training.tasks.base import TrainingTask
from trainer.training.tasks.binary import BinaryTask
from trainer.training.tasks.multiclass import MulticlassTask
from trainer.training.tasks.regression import RegressionTask

__all__ = ["TrainingTask", "training_task"]

_TASKS: Mapping[TaskName, type[TrainingTask]] = {
    "binary": BinaryTask,
    "multiclass": MulticlassTask,
    "regression": RegressionTask,
}


def training_task(name: TaskName, classes: Sequence[Label] = ()) -> TrainingTask:
    """Return how models of a task are fitted and judged.

    Args:
        name: The task.
        classes: The classes as the target column has them, in the order of their codes.
    """
    return _TASKS[name](classes)
