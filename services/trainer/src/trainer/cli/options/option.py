"""An option: under which heading the help lists it, which variable sets it, and how a command takes several as one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from trainer.cli.config_file import value_in_config

Function = TypeVar("Function", bound=Callable[..., Any])


class GroupedOption(click.Option):
    """An option that the help lists under a heading."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Return the option's value and where it comes from; see ``--config``."""
        value, source = super().consume_value(ctx, opts)
        return value_in_config(self, ctx, value, source)


def option(*names: str, group: str, env: str | None, **kwargs: Any) -> Callable[[Function], Function]:
    """Return a decorator that adds an option.

    Args:
        names: As click's option takes them.
        group: The heading under which the help lists it.
        env: The environment variable that sets it, if any.
        kwargs: What else click's option takes.
    """
    return click.option(*names, cls=GroupedOption, group=group, envvar=env, show_envvar=env is not None, **kwargs)


def gathered(
    parameter: str, kind: type[Any], *options: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """Return a decorator that adds options, and hands their values to the command as one object.

    Args:
        parameter: The command's parameter that takes the object.
        kind: The object's class, a dataclass; its fields are the options' names.
        options: The options, in the order of the help.
    """
    names = [field.name for field in fields(kind)]

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def call(**given: Any) -> Any:
            values = {name: given.pop(name) for name in names}
            return function(**given, **{parameter: kind(**values)})

        decorated: Any = call
        for decorate in reversed(options):
            decorated = decorate(decorated)
        return decorated  # type: ignore[no-any-return]

    return add
