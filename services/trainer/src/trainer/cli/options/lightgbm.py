"""An option for each of LightGBM's parameters."""

from __future__ import annotations

import functools
from typing import Any

import click

from trainer.cli.options.option import Function, GroupedOption
from trainer.config.parameter import Parameter, Value
from trainer.config.parameter_table import PARAMETERS
from trainer.config.variant import describe_params


class ParameterType(click.ParamType[Value]):
    """Checks a LightGBM parameter's value by its row in the table of parameters."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.name = parameter.kind.__name__

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return how the help shows the value."""
        if self.parameter.choices:
            return "|".join(self.parameter.choices)
        return {int: "INT", float: "NUM"}.get(self.parameter.kind, "TEXT")

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Value:  # noqa: ARG002
        """Return the value in the parameter's type."""
        return self.parameter.parse(value, self.parameter.option)


def lightgbm_options(function: Function) -> Function:
    """Add an option for each of LightGBM's parameters; the command takes those that are given as ``overrides``."""

    @functools.wraps(function)
    def call(**given: Any) -> Any:
        values: dict[str, Value] = {parameter.name: given.pop(parameter.name) for parameter in PARAMETERS}
        return function(**given, overrides={name: value for name, value in values.items() if value is not None})

    decorated: Any = call
    for parameter in reversed(PARAMETERS):
        negation = f"{parameter.option}/--no-{parameter.option[2:]}"
        default = "" if parameter.default is None else f"; default {describe_params({'': parameter.default})[1:]}"
        allowed = "" if parameter.kind is bool else f" [{parameter.allowed}{default}]"
        decorated = click.option(
            negation if parameter.kind is bool else parameter.option,
            parameter.name,
            cls=GroupedOption,
            group=f"LightGBM: {parameter.group.lower()}",
            envvar=f"TRAINER_{parameter.name.upper()}",
            default=None,
            help=parameter.help + allowed,
            **({} if parameter.kind is bool else {"type": ParameterType(parameter)}),
        )(decorated)
    return decorated  # type: ignore[no-any-return]
