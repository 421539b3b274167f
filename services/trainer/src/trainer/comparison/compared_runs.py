"""The runs of a comparison: what differs between them, which is the best, and which values compare."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.config.selection_metric import LOWER, NEUTRAL, OF_A_CLASS, SHORT

#: The parameters that say which rows a run's validation metrics are of.
_VALIDATION = ("data_digest", "seed", "validation_size", "cv_folds")
_HIGHER = {"f1", "precision", "recall", "auc", "accuracy", "r2", "ndcg", "map", "kappa", "mcc", "specificity"}
#: A decimal number of six digits or more.
_LONG = re.compile(r"-?(?=(?:\D*\d){6})\d+\.\d+(?:e[+-]?\d+)?")
#: A spread, and one fold's value out of several.
_NO_MERIT = {"std", "fold"}
_LOWER = {"loss", "logloss", "error", "mae", "mse", "rmse", "mape", "brier", "deviance"}


@dataclass(frozen=True)
class ComparedRun:
    """A run, as far as a comparison needs it."""

    run_id: str
    name: str
    status: str
    url: str | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    #: The digest of the rows that it was tested on; None where it does not say so.
    test_digest: str | None = None

    def rows(self, validation: bool) -> tuple[str | None, ...]:
        """Return what tells the test rows, or the validation rows, of this run from those of others."""
        return tuple(self.params.get(name) for name in _VALIDATION) if validation else (self.test_digest,)


@dataclass(frozen=True)
class Comparison:
    """The runs, and the sweep's parent where they are those of a sweep."""

    title: str
    runs: tuple[ComparedRun, ...]
    uri: str
    parent: ComparedRun | None = None
    #: The metric by which the runs are ordered; None where they stand as they were named.
    ordered_by: str | None = None

    @property
    def differing(self) -> list[str]:
        """The parameters whose values are not the same in all runs."""
        names = dict.fromkeys(name for run in self.runs for name in run.params)
        return [name for name in names if len({run.params.get(name) for run in self.runs}) > 1]

    def shown_param(self, name: str, value: str) -> str:
        """Return a parameter's value with as many digits as tell it from those of the other runs, and four at least."""
        if not _LONG.fullmatch(value):
            return value
        others = {other for run in self.runs if (other := run.params.get(name, "")) != value and _LONG.fullmatch(other)}
        for digits in range(max(4, len(value.lstrip("-").partition(".")[0])), 17):
            text = f"{float(value):.{digits}g}"
            if text not in {f"{float(other):.{digits}g}" for other in others}:
                return text
        return value

    @property
    def metrics(self) -> list[str]:
        """The metrics that any run has; those that are judged by first."""
        names = dict.fromkeys(name for run in self.runs for name in run.metrics)
        return sorted(names, key=lambda name: (direction(name) is None, name.startswith("validation"), name))

    def best(self, metric: str) -> set[str]:
        """Return the ids of the runs that are best by a metric; none where the runs' values do not compare."""
        sign = direction(metric)
        if not self.same_rows(metric):
            return set()
        values = {run.run_id: run.metrics[metric] for run in self.runs if metric in run.metrics}
        numbers = [value for value in values.values() if not math.isnan(value)]
        if sign is None or len(values) < 2 or len(set(numbers)) < 2:
            return set()
        top = max(numbers, key=lambda value: sign * value)
        return {run_id for run_id, value in values.items() if value == top}

    def same_rows(self, metric: str) -> bool:
        """Tell whether all runs have computed a metric on the same rows, as far as they say so."""
        validation = metric.startswith("validation_")
        return len({run.rows(validation) for run in self.runs if metric in run.metrics}) < 2

    @property
    def warnings(self) -> list[str]:
        """What keeps the runs' metrics from being compared."""
        parts = sorted({"validation" if name.startswith("validation_") else "test" for name in self.metrics})
        return [
            f"the runs' {part} rows, or their columns, are not the same: their {part} metrics do not compare, and no"
            " best is marked"
            for part in parts
            if len({run.rows(part == "validation") for run in self.runs}) > 1
        ]


def direction(metric: str) -> int | None:
    """Return 1 where a higher value of a metric is better, -1 where a lower one is, None where that is not known."""
    # A class may be called anything: of f1/loss, only the first part says what it is.
    metric, _, of_a_class = metric.partition("/")
    known = metric.removeprefix("validation_")
    if known in NEUTRAL:
        return None
    if known in SHORT or known in LOWER or (of_a_class and known in OF_A_CLASS):
        return -1 if known in LOWER else 1
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    if words & _NO_MERIT:
        return None
    if words & _LOWER:
        return -1
    if words & _HIGHER or "average_precision" in metric.lower():
        return 1
    return None


def number(value: float) -> str:
    """Return a metric as people read it: whole numbers as such, others to four digits."""
    if math.isnan(value):
        return "nan"
    if abs(value) < 1e15 and value == int(value) and abs(value) >= 2:
        return f"{int(value)}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"
