"""The option ``--config``: a YAML file with the options of a command, by their names without dashes.

A value on the command line wins over the file's, and the file's value wins over variables and defaults. The options
convert and check the file's values as they do the words of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from trainer.config.parameter_names import nearest_param
from trainer.util import yaml_file
from trainer.util.errors import InputError
from trainer.util.text import one_line

_META = "trainer.config"


def config_key(parameter: click.Parameter) -> str:
    """Return what a file calls an option: its name without dashes, with underscores inside."""
    return parameter.opts[0].removeprefix("--").replace("-", "_")


def value_in_config(
    parameter: click.Parameter, context: click.Context, value: Any, source: ParameterSource
) -> tuple[Any, ParameterSource]:
    """Return an option's value and where it comes from: the file's in place of a variable's or a default one."""
    content: Mapping[str, Any] = context.meta.get(_META, {})
    key = config_key(parameter)
    if key not in content or source in (ParameterSource.COMMANDLINE, ParameterSource.PROMPT):
        return value, source
    return content[key], ParameterSource.DEFAULT_MAP


def read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Read the file that the option names; see ``value_in_config``.

    Raises:
        InputError: It holds what the command does not take; the message names line and option.
    """
    if path is None:
        return
    content = yaml_file.read(path, "--config", "a YAML mapping from options to values")
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: holds {yaml_file.what(content)}; write a mapping such as 'num_leaves: 31' (--config)"
        )
    known = {config_key(one): one for one in context.command.params if one is not parameter and len(one.opts[0]) > 2}
    known.pop("help", None)
    values: dict[str, Any] = {}
    for key, value in content.items():
        place = yaml_file.place(path, content, key)
        name = str(key).replace("-", "_")
        if name not in known:
            near = nearest_param(name, known)
            hint = f"did you mean {near!r}?" if near else f"{context.command_path} --help lists its options"
            raise InputError(f"{place}: {context.command_path} has no option {str(key)!r}; {hint}")
        values[name] = _checked(known[name], value, context, place)
    context.meta[_META] = values


def _checked(parameter: click.Parameter, value: Any, context: click.Context, place: str) -> Any:
    """Return a value of the file as click takes it from the command line; refuse what the option does not take."""
    name = config_key(parameter)
    if value is None:
        # The key stands without a value: the option has its default, also where a variable is set.
        return parameter.get_default(context)
    is_flag, structure = bool(getattr(parameter, "is_flag", False)), getattr(parameter.type, "structure", None)
    kinds = {list: "a list", dict: "a mapping"}
    if is_flag:
        taken, wanted = isinstance(value, bool), "true or false"
    elif isinstance(value, list | dict):
        structure = list if parameter.multiple else structure
        taken = structure is not None and isinstance(value, structure)
        wanted = kinds[structure] if structure is not None else "one value"
    else:
        taken, wanted = not isinstance(value, bool), "another value; a word such as yes needs quotes"
    if not taken:
        raise InputError(f"{place}: {name} is {yaml_file.what(value)}; it takes {wanted}")
    if parameter.multiple:
        value = tuple(map(str, value if isinstance(value, list) else [value]))
    elif not is_flag and not isinstance(value, list | dict):
        # As the command line's words: the option converts it.
        value = str(value)
    try:
        parameter.type_cast_value(context, value)
    except (InputError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        raise InputError(f"{place}: {one_line(text)}") from None
    return value
