"""Finds the parameter that a name stands for: in a variant, on the command line, or misspelt."""

from __future__ import annotations

from collections.abc import Iterable

from trainer.config.parameter import Value
from trainer.config.parameter_table import BY_NAME, PARAMETERS
from trainer.util.errors import InputError
from trainer.util.text import nearest

#: How alike two names must be for one to be suggested for the other: one that means something else is no help.
_ALIKE = 0.78


def parse_param(name: object, value: object) -> tuple[str, Value]:
    """Return a parameter's name and its value, converted to the parameter's type.

    Raises:
        InputError: There is no such parameter (the message suggests the nearest), or the value is not allowed.
    """
    parameter = BY_NAME.get(str(name))
    if parameter is None:
        raise InputError(f"there is no parameter {str(name)!r}{suggestion(str(name))}")
    return parameter.name, parameter.parse(value)


def suggestion(name: str) -> str:
    """Return ``; did you mean 'x'?`` for the parameter that ``name`` most likely stands for."""
    near = nearest_param(name, BY_NAME)
    return f"; did you mean {near!r}?" if near else ""


def nearest_param(name: str, among: Iterable[str]) -> str | None:
    """Return which of some names of parameters or options, or of their aliases, ``name`` most likely is, or None."""
    names = {_normal(one): one for one in among}
    aliases = {alias: parameter.name for parameter in PARAMETERS for alias in parameter.aliases}
    names = {alias: names[name] for alias, name in aliases.items() if name in names} | names
    near = nearest(_normal(name), names, cutoff=_ALIKE)
    return names[near] if near is not None else None


def _normal(name: str) -> str:
    return name.strip().lower().lstrip("-").replace("-", "_")
