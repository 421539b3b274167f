"""The options about the target: what is predicted."""

from __future__ import annotations

import click

from trainer.cli.options.option import option
from trainer.config.task import TASK_NAMES

target_option = option("--target", group="Data", env="TRAINER_TARGET", help="The target column of a single table.")

positive_option = option(
    "--positive",
    metavar="VALUE",
    group="Data",
    env="TRAINER_POSITIVE",
    help="The positive class's value, where the target has two values such as 1 and 2, or good and bad.",
)

task_option = option(
    "--task",
    type=click.Choice(TASK_NAMES),
    group="Data",
    env="TRAINER_TASK",
    help="What is predicted: one of two classes, one of several, or a number. By default the target's values tell.",
)
