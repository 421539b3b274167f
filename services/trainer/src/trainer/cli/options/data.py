"""The data of a fit: all options from the table to the plots, as a command takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.cli.options.columns import categorical_option, drop_option, monotone_option, weight_option
from trainer.cli.options.csv_files import CSV_OPTIONS, CsvOptions
from trainer.cli.options.fit import metric_option, stream_option, threshold_option
from trainer.cli.options.option import Function, gathered, option
from trainer.cli.options.plots import explain_option, plot_style_option
from trainer.cli.options.split import (
    cv_option,
    group_option,
    seed_option,
    test_option,
    test_size_option,
    time_option,
    validation_size_option,
)
from trainer.cli.options.target import positive_option, target_option, task_option
from trainer.cli.options.value_types import TablePlace
from trainer.config.plot_style import PlotStyle
from trainer.config.selection_metric import Metric
from trainer.config.stream import Stream
from trainer.config.task import TaskName


def data_option(help_: str) -> Callable[[Function], Function]:
    """Return a decorator that adds the option which names the data."""
    return option("--data", type=TablePlace(), group="Data", env="TRAINER_DATA", help=help_)


@dataclass(frozen=True)
class SourceOptions(CsvOptions):
    """Where the data is, and how a single table is split into training and test rows."""

    data: Path | None
    target: str | None
    positive: str | None
    test_size: float
    seed: int
    stream: Stream


@dataclass(frozen=True)
class DataOptions(SourceOptions):
    """The data, and how the validation rows and the threshold are chosen."""

    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    weight: str | None
    time: str | None
    group: str | None
    monotone: dict[str, int]
    test: Path | None

    validation_size: float
    threshold: str
    folds: int | None
    metric: Metric | None
    task: TaskName | None
    #: On how many test rows contributions are computed.
    explain: int
    #: In which themes plots are drawn.
    plot_style: PlotStyle


data_options = gathered(
    "source",
    DataOptions,
    data_option(
        "One CSV or Parquet table: a file, a folder of its parts, or a pattern such as 'june/*.csv'; also in a"
        " bucket (s3://…, gs://…). Or a folder with"
        " X_train.csv, X_test.csv, y_train.csv and y_test.csv."
        " Without data the trainer makes up web-shop sessions."
    ),
    target_option,
    task_option,
    positive_option,
    drop_option,
    categorical_option,
    weight_option,
    time_option,
    group_option,
    monotone_option,
    test_option,
    test_size_option,
    validation_size_option,
    threshold_option,
    cv_option,
    metric_option,
    seed_option,
    explain_option,
    stream_option,
    plot_style_option,
    *CSV_OPTIONS,
)
