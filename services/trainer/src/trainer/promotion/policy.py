"""The promotion policy: what a version of a model must satisfy to become champion, with defaults and a YAML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.config.selection_metric import LOWER, NEUTRAL, OF_A_CLASS
from trainer.config.task import TASKS, TaskName
from trainer.util import yaml_file
from trainer.util.errors import InputError
from trainer.util.text import did_you_mean

#: Metrics of a model of two classes on the test rows, and whether more of one is better.
METRICS: Mapping[str, bool] = {
    "f1": True,
    "precision": True,
    "recall": True,
    "average_precision": True,
    "roc_auc": True,
    "log_loss": False,
}

DEFAULT_POLICY = """\
# What a version must satisfy to become champion. A key that is left out keeps the value given here; false switches a
# constraint off.
minimum:                      # metrics on the test data, at least
  average_precision: 0.5
  roc_auc: 0.8                # of a multiclass model roc_auc_macro: 0.7 instead of both, of a regression r2: 0
maximum: false                # the same, at most; for log_loss, rmse and mae
champion:                     # by how much a metric may be worse than the current champion's on the same test data
  average_precision: 0.005
  f1: 0.02                    # of a multiclass model f1_macro: 0.02 and log_loss: 0.02, of a regression r2: 0.01
unseen: true                  # scored on rows only that neither it nor the champion was trained on
signature: true               # takes the champion's columns, in compatible types, and returns what it returns
safe_format: true             # its format runs no code of its own: what `trainer serve` takes by default
latency_ms: 200               # median time of a prediction for one row, in milliseconds, at most
seconds: 60                   # loading and predicting in a clean process, at most
memory_mib: 2048              # the memory of that process, in MiB, at most
"""


@dataclass(frozen=True)
class PromotionPolicy:
    """Constraints on a version. An empty mapping, False or None leaves the constraint out."""

    minimum: Mapping[str, float] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    champion: Mapping[str, float] = field(default_factory=dict)
    unseen: bool = True
    signature: bool = True
    safe_format: bool = True
    latency_ms: float | None = None
    seconds: float = 60.0
    memory_mib: float = 2048.0
    #: The keys that a file gives; the others may have other defaults for a model of another task.
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def for_task(self, task: TaskName) -> PromotionPolicy:
        """Return the policy for a model of a task: what the file leaves out has that task's defaults."""
        own = _OF_TASK.get(task, {})
        changed: dict[str, Any] = {key: dict(metrics) for key, metrics in own.items() if key not in self.given}
        return replace(self, **changed)

    @property
    def digest(self) -> str:
        """Return a digest (12 hexadecimal digits) of the constraints, whatever the file's order and comments."""
        constraints = {name: value for name, value in asdict(self).items() if name != "given"}
        return hashlib.sha256(json.dumps(constraints, sort_keys=True).encode()).hexdigest()[:12]


#: The defaults that differ from those for two classes. R2 is the one metric of a number without a unit.
_OF_TASK: Mapping[TaskName, Mapping[str, Mapping[str, float]]] = {
    "multiclass": {
        "minimum": {"roc_auc_macro": 0.7},
        "maximum": {},
        "champion": {"f1_macro": 0.02, "log_loss": 0.02},
    },
    "regression": {"minimum": {"r2": 0.0}, "maximum": {}, "champion": {"r2": 0.01}},
}
#: All metrics that a policy may name, beside those of each class, such as f1/setosa.
_KNOWN = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.metrics if name not in NEUTRAL))


def more_is_better(metric: str) -> bool:
    """Tell whether more of a metric is better."""
    return metric not in LOWER


def has_metric(task: TaskName, metric: str) -> bool:
    """Tell whether models of a task have a metric."""
    of, _, name = metric.partition("/")
    return (task == "multiclass" and of in OF_A_CLASS) if name else metric in TASKS[task].metrics


#: The numbers a key takes: lowest, highest, and whether ``false`` leaves it out.
_NUMBERS: Mapping[str, tuple[float, float, bool]] = {
    "latency_ms": (0.001, 3_600_000, True),
    "seconds": (1, 3_600, False),
    "memory_mib": (64, 1_048_576, False),
}
_TRUTHS = ("unseen", "signature", "safe_format")
_METRIC_KEYS = ("minimum", "maximum", "champion")
_KEYS = (*_METRIC_KEYS, *_TRUTHS, *_NUMBERS)
_SEE = "trainer promote --show-policy prints the default policy"


def load_policy(path: Path | None = None) -> PromotionPolicy:
    """Return the policy in a YAML file, over the default one; without a file, the default one.

    Raises:
        InputError: The file cannot be read or is no policy; the message names file, key and remedy.
    """
    import yaml

    content: dict[str, Any] = yaml.safe_load(DEFAULT_POLICY)
    place = str(path) if path is not None else "the default policy"
    own: Any = None
    if path is not None:
        own = yaml_file.read(path, "--policy", "a YAML mapping of constraints")
        if not isinstance(own, dict):
            raise InputError(
                f"{place}: holds {yaml_file.what(own)}; write a mapping such as"
                f" 'minimum: {{average_precision: 0.6}}' ({_SEE})"
            )
        for key in own:
            if key not in _KEYS:
                where = yaml_file.place(place, own, key)
                raise InputError(f"{where}: there is no constraint {str(key)!r}{_nearest(key, _KEYS)}")
        content |= own
    wheres = {key: f"{yaml_file.place(place, own, key)}: {key}" for key in content}
    checked: dict[str, Any] = {
        **{key: _metrics(key, content[key], wheres[key]) for key in _METRIC_KEYS},
        **{key: _number(content[key], wheres[key], *bounds) for key, bounds in _NUMBERS.items()},
        **{key: _truth(content[key], wheres[key]) for key in _TRUTHS},
    }
    return PromotionPolicy(**checked, given=frozenset(own or ()))


def _metrics(key: str, value: Any, where: str) -> dict[str, float]:
    if value is False:
        return {}
    if not isinstance(value, dict):
        raise InputError(
            f"{where} is {yaml_file.what(value)}; write a mapping such as {{average_precision: 0.01}}, or false"
        )
    metrics: dict[str, float] = {}
    for name, number in value.items():
        if not any(has_metric(task, str(name)) for task in TASKS) or name in NEUTRAL:
            raise InputError(f"{where}: there is no metric {str(name)!r}{_nearest(name, _KNOWN)}")
        if key == "minimum" and not more_is_better(name):
            raise InputError(f"{where}: {name} is better when it is low; name it under maximum")
        if key == "maximum" and more_is_better(name):
            raise InputError(f"{where}: {name} is better when it is high; name it under minimum")
        # A log loss has no unit, an error has that of the target.
        highest = 1.0 if more_is_better(name) else 1_000.0 if name == "log_loss" else 1e15
        metrics[name] = _number(number, f"{where}: {name}", 0.0, highest, False) or 0.0
    return metrics


def _number(value: Any, where: str, lowest: float, highest: float, optional: bool) -> float | None:
    if optional and value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        found = yaml_file.what(value)
    elif not lowest <= value <= highest:
        found = f"{value:g}" if isinstance(value, float) else str(value)
    else:
        return float(value)
    either = ", or false" if optional else ""
    raise InputError(f"{where} is {found}; it must be a number from {lowest:g} to {highest:,.12g}{either}")


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{where} is {yaml_file.what(value)}; it must be true or false")
    return value


def _nearest(name: object, known: tuple[str, ...]) -> str:
    otherwise = f"known are {', '.join(known)} ({_SEE})"
    return f"; {did_you_mean(str(name), known, otherwise)}"
