"""How a command shows its options: under headings, in the order of their declaration."""

from __future__ import annotations

from typing import Any

import click

#: The settings of a command that is called by itself; those of the group hold for its commands.
SETTINGS = {"max_content_width": 110, "help_option_names": ["-h", "--help"]}


def paragraphs(help_: str | None) -> str | None:
    """Return a raw docstring as click wants it: a backspace marks a paragraph whose lines stay as they are."""
    return help_ and help_.replace("\\b\n", "\b\n")


class GroupedCommand(click.Command):
    """A command whose help lists its options under their headings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "help": paragraphs(kwargs.get("help"))})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading, in the order of their declaration."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            # Arguments have a heading of click's own.
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
