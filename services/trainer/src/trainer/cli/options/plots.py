"""The options about plots: what is drawn for each run."""

from __future__ import annotations

import click

from trainer.cli.options.option import option
from trainer.cli.options.value_types import Rows
from trainer.config.plot_style import PLOT_STYLES

explain_option = option(
    "--explain",
    type=Rows(),
    default=0,
    metavar="ROWS|all",
    group="Output",
    env="TRAINER_EXPLAIN",
    help="Compute each feature's contributions (SHAP values) on that many test rows, for each run: a beeswarm plot and"
    " a CSV file. 1000 rows are enough for the order of the features.",
)

plot_style_option = option(
    "--plot-style",
    type=click.Choice(PLOT_STYLES),
    default="light",
    show_default=True,
    group="Output",
    env="TRAINER_PLOT_STYLE",
    help="Draw each run's plots for a light page, a dark one (NAME_dark.png), or both.",
)
