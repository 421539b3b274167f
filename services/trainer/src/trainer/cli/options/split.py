"""The options about the split: which rows are for training, for validation and for the test."""

from __future__ import annotations

import click

from trainer.cli.options.option import option
from trainer.cli.options.value_types import Share, TablePlace
from trainer.config.defaults import TEST_SIZE, VALIDATION_SIZE

time_option = option(
    "--time",
    metavar="COLUMN",
    group="Data",
    env="TRAINER_TIME",
    help="The column of times to split by, dates or numbers: the latest rows are the test rows, the latest of the"
    " others the validation rows, and with --cv each fold holds out what came next; it is no feature.",
)

group_option = option(
    "--group",
    metavar="COLUMN",
    group="Data",
    env="TRAINER_GROUP",
    help="The column whose rows of one value stay together, in test, validation and folds; it is no feature.",
)

test_option = option(
    "--test",
    type=TablePlace(),
    metavar="FILE",
    group="Data",
    env="TRAINER_TEST",
    help="A table of its own for the test rows, in a file or in parts; all rows of --data are training rows then.",
)

test_size_option = option(
    "--test-size",
    type=Share(),
    default=TEST_SIZE,
    show_default=True,
    group="Data",
    env="TRAINER_TEST_SIZE",
    help="Share of a single table that is held out for the final metrics.",
)

validation_size_option = option(
    "--validation-size",
    type=Share(),
    default=VALIDATION_SIZE,
    show_default=True,
    group="Data",
    env="TRAINER_VALIDATION_SIZE",
    help="Share of the training rows that chooses the threshold and gives the loss history.",
)

cv_option = option(
    "--cv",
    "folds",
    type=click.IntRange(2, 100),
    metavar="K",
    group="Data",
    env="TRAINER_CV",
    help="Cross-validate: K stratified folds of the training rows, each left out once, choose the"
    " threshold and compare variants, in place of --validation-size; the model is then fitted to all"
    " training rows.",
)

seed_option = option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=42,
    show_default=True,
    group="Data",
    env="TRAINER_SEED",
    help="Seed of the splits, the made-up sessions, and LightGBM.",
)
