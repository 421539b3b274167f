"""The option that names a file with options."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli.config_file import read_config
from trainer.cli.options.option import option

config_option = option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    group="Configuration",
    env="TRAINER_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="A YAML file with options of this command, such as num_leaves: 31; those given here go before it. Each run"
    " has such a file, config.yaml, which repeats it.",
)
