"""Prints those warnings on data about which the user of the running command can do something."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def show_data_warnings(warnings: Iterable[str]) -> None:
    """Print warnings, without those that name an option which the command does not have: they are on training."""
    from trainer.util.output import print_message

    known = known_options(click.get_current_context().command)
    for warning in warnings:
        if known.issuperset(_OPTION.findall(warning)):
            print_message(warning)


def known_options(command: click.Command) -> set[str]:
    """Return the options of a command."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
