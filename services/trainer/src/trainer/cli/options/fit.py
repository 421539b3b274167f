"""The options about a fit: the metric and threshold it chooses by, and how it reads its rows."""

from __future__ import annotations

import click

from trainer.cli.options.option import option
from trainer.config.stream import STREAM
from trainer.config.task import CHOICES, TASKS

threshold_option = option(
    "--threshold",
    default="max-f1",
    show_default=True,
    group="Data",
    env="TRAINER_THRESHOLD",
    help="Decision threshold, chosen on the validation rows: max-f1, f2 or fbeta:0.5 (the"
    " highest F-beta), balanced-accuracy, cost:FP=1,FN=5 (the lowest cost), precision>=0.8 (the highest recall that"
    " keeps it), recall>=0.9 (the highest precision that keeps it), or a number from 0 to 1.",
)

metric_option = option(
    "--metric",
    type=click.Choice(CHOICES),
    group="Data",
    env="TRAINER_METRIC",
    help="What variants and trials are chosen by, on the validation rows; the same prunes trials and stops early."
    " By default " + ", ".join(f"{task.choices[0]} ({task.name})" for task in TASKS.values()) + ".",
)

stream_option = option(
    "--stream",
    type=click.Choice(STREAM),
    default="auto",
    show_default=True,
    group="Data",
    env="TRAINER_STREAM",
    help="Whether a table is read in passes instead of being held in memory; auto does so where it would not fit. The"
    " model and its metrics are the same.",
)
