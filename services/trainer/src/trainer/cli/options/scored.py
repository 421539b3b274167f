"""The options of commands that score: which logged model, and which data."""

from __future__ import annotations

from collections.abc import Callable

from trainer.cli.options.option import Function, option
from trainer.cli.options.value_types import TablePlace


def model_uri_option(group: str, help_: str) -> Callable[[Function], Function]:
    """Return the option ``--model`` of a command that works with a model that is there already."""
    return option("--model", required=True, metavar="URI", group=group, env=None, help=help_)


def scored_data_option(group: str, help_: str) -> Callable[[Function], Function]:
    """Return the option ``--data`` of such a command; not from TRAINER_DATA, which says what to train on."""
    return option("--data", required=True, type=TablePlace(), group=group, env=None, help=help_)
