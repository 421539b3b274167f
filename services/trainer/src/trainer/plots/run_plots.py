"""All plots of one run, as files: a list for each task, and those that every run has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.plot_style import PlotStyle
from trainer.config.selection_metric import SHORT
from trainer.config.task import TaskName
from trainer.plots import (
    calibration,
    class_confusion,
    class_curves,
    confusion,
    importance,
    precision_recall,
    residuals,
    roc,
)
from trainer.plots.content import Content
from trainer.plots.contributions import measured_contributions
from trainer.plots.files import write_plot
from trainer.plots.importance_values import measure_importance
from trainer.plots.learning_curve import learning_curve
from trainer.plots.style import Heading

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.training.fit import FitResult


@dataclass(frozen=True)
class _Run:
    """What is drawn: a fitted variant and its test rows."""

    name: str
    dataset: Dataset
    fitted: FitResult

    @property
    def heading(self) -> Heading:
        return Heading(self.name, f"{self.dataset.name}, {self.dataset.test.rows:,} test rows")

    @property
    def counted_once(self) -> Heading:
        """The heading of plots that count rows, whatever their weights."""
        unweighted = "" if self.dataset.test.weight is None else ", each counted once"
        return Heading(self.heading.title, self.heading.subtitle + unweighted)

    @property
    def metrics_once(self) -> Mapping[str, float]:
        """The metrics of rows that count once each."""
        test, fitted = self.dataset.test, self.fitted
        if test.weight is None:
            return fitted.test
        return fitted.task.evaluate(replace(test, weight=None), fitted.scores, fitted.threshold)


def _pr_curve(run: _Run) -> Content:
    test, fitted = run.dataset.test, run.fitted
    point = (test.target, fitted.scores, fitted.threshold, fitted.test)
    return precision_recall.pr_curve(*point, run.heading, test.weight)


def _roc_curve(run: _Run) -> Content:
    test, fitted = run.dataset.test, run.fitted
    point = (test.target, fitted.scores, fitted.threshold, fitted.test)
    return roc.roc_curve(*point, run.heading, test.weight)


def _confusion_matrix(run: _Run) -> Content:
    fitted = run.fitted
    point = (run.dataset.test.target, fitted.scores, fitted.threshold, run.metrics_once)
    return confusion.confusion_matrix(*point, run.counted_once)


def _calibration(run: _Run) -> Content:
    return calibration.calibration_curve(run.dataset.test.target, run.fitted.scores, run.counted_once)


def _class_pr_curves(run: _Run) -> Content:
    test, fitted = run.dataset.test, run.fitted
    of = (test.target, fitted.scores, run.dataset.classes, fitted.test)
    return class_curves.class_pr_curves(*of, run.heading, test.weight)


def _class_roc_curves(run: _Run) -> Content:
    test, fitted = run.dataset.test, run.fitted
    of = (test.target, fitted.scores, run.dataset.classes, fitted.test)
    return class_curves.class_roc_curves(*of, run.heading, test.weight)


def _class_confusion(run: _Run) -> Content:
    of = (run.dataset.test.target, run.fitted.scores, run.dataset.classes, run.metrics_once)
    return class_confusion.class_confusion(*of, run.counted_once)


def _predicted_actual(run: _Run) -> Content:
    return residuals.predicted_actual(run.dataset.test.target, run.fitted.scores, run.metrics_once, run.counted_once)


def _residuals(run: _Run) -> Content:
    return residuals.residuals(run.dataset.test.target, run.fitted.scores, run.metrics_once, run.counted_once)


_Measure = Callable[[_Run], Content]
#: The plots of each task, by the files' names.
PLOTS: Mapping[TaskName, Mapping[str, _Measure]] = {
    "binary": {
        "pr_curve": _pr_curve,
        "roc_curve": _roc_curve,
        "confusion_matrix": _confusion_matrix,
        "calibration": _calibration,
    },
    "multiclass": {
        "pr_curve": _class_pr_curves,
        "roc_curve": _class_roc_curves,
        "confusion_matrix": _class_confusion,
    },
    "regression": {"predicted_actual": _predicted_actual, "residuals": _residuals},
}


def write_run_plots(
    folder: Path, name: str, dataset: Dataset, fitted: FitResult, style: PlotStyle = "light", explain: int = 0
) -> None:
    """Write the plots of a fitted variant, and their tables, into the folder ``plots``.

    Args:
        folder: Where ``plots`` goes; created where it does not exist.
        name: The variant's name.
        dataset: What it was trained on.
        fitted: The fitted variant.
        style: The themes to draw in.
        explain: On how many test rows contributions are computed; ``contributions.csv`` has them row by row.
    """
    # Each figure is gone before the next is drawn.
    for file, content in _contents(folder, name, dataset, fitted, explain):
        write_plot(content, folder / "plots", file, style)


def _contents(
    folder: Path, name: str, dataset: Dataset, fitted: FitResult, explain: int
) -> Iterator[tuple[str, Content]]:
    run = _Run(name, dataset, fitted)
    for file, measure in PLOTS[dataset.task].items():
        yield file, measure(run)
    if not fitted.is_lightgbm:
        return
    trained = Heading(name, f"{dataset.name}, {dataset.train.rows:,} training rows")
    yield "feature_importance", importance.feature_importance(measure_importance(fitted.pipeline), trained)
    loss = SHORT[fitted.task.task.loss]
    held_out = f"{dataset.name}, {len(fitted.fold_losses)} folds" if fitted.fold_losses else dataset.name
    heading = Heading(name, held_out)
    yield "learning_curve", learning_curve(fitted.loss, fitted.iterations, heading, fitted.fold_losses, loss)
    if explain:
        yield "contributions", measured_contributions(folder, name, dataset, fitted, explain)
