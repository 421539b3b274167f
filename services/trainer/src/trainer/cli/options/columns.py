"""The options about columns besides the target: left out, categories, weights, numbers with a direction."""

from __future__ import annotations

from trainer.cli.options.option import option
from trainer.cli.options.value_types import Monotone, Names

drop_option = option(
    "--drop",
    type=Names(),
    default=(),
    group="Data",
    env="TRAINER_DROP",
    help="Columns to leave out, separated by commas.",
)

categorical_option = option(
    "--categorical",
    type=Names(),
    default=(),
    group="Data",
    env="TRAINER_CATEGORICAL",
    help="Columns of which each value is a category, whole numbers too, separated by commas.",
)

weight_option = option(
    "--weight",
    metavar="COLUMN",
    group="Data",
    env="TRAINER_WEIGHT",
    help="The column of sample weights, for fit, metrics and threshold; it is no feature.",
)

monotone_option = option(
    "--monotone",
    type=Monotone(),
    default={},
    group="Data",
    env="TRAINER_MONOTONE",
    help="Columns of numbers with which the score may only rise (+1) or only fall (-1), separated by commas.",
)
