"""How variants are trained and compared, beside their parameters: seed, validation rows, threshold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainer.config.defaults import VALIDATION_SIZE
from trainer.config.selection_metric import DEFAULT_METRIC, Metric
from trainer.config.task import BINARY, Task
from trainer.training.threshold_rule import ThresholdRule
from trainer.util.errors import InputError


@dataclass(frozen=True)
class TrainConfig:
    """What determines the results of all variants of a command. ``validation_size`` is a share of the training rows."""

    seed: int = 42
    validation_size: float = VALIDATION_SIZE
    threshold_rule: ThresholdRule = field(default_factory=ThresholdRule)
    #: How many folds to cross-validate with; 0 for the one hold-out.
    folds: int = 0
    #: What variants are pruned, stopped and chosen by.
    metric: Metric = DEFAULT_METRIC
    #: Whether one fit is made by several processes, whose result differs a little.
    distributed: bool = False

    @property
    def chosen_by(self) -> str:
        """The name of the metric that variants are chosen by, as runs have it."""
        return f"validation_{self.metric}"

    @property
    def compared_on(self) -> str:
        """What variants are compared by, in words."""
        return f"training rows in {self.folds} folds" if self.folds else "validation rows"

    def parameters(self, task: Task = BINARY) -> dict[str, Any]:
        """Return the settings as the parameters of a run."""
        validation = {"cv_folds": self.folds} if self.folds else {"validation_size": self.validation_size}
        rule = {"threshold_rule": str(self.threshold_rule)} if task.has_threshold else {}
        return {"seed": self.seed, **validation, **rule, "chosen_by": self.metric}

    def check(self, task: Task) -> None:
        """Refuse what the task has no use for.

        Raises:
            InputError: A threshold where none decides, or a metric of another task.
        """
        if not task.has_threshold and self.threshold_rule != ThresholdRule():
            raise InputError(f"--threshold: a {task.name} target has no threshold; leave it out")
        task.metric(self.metric)
