"""The kinds of values that options take and click does not know: names of columns, shares, rows, tables, and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainer.config.csv_form import NAMED
from trainer.config.explain import parse_explain
from trainer.util.errors import InputError


class Names(click.ParamType[tuple[str, ...]]):
    """Names of columns, separated by commas; a name that holds one stands in quotes."""

    name = "column,…"
    #: What a configuration file may hold beside text.
    structure = list

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ARG002
        """Return the names."""
        if isinstance(value, list | tuple):
            return tuple(str(name) for name in value)
        import csv

        names = next(csv.reader([str(value)], skipinitialspace=True), [])
        return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


class Monotone(click.ParamType[dict[str, int]]):
    """Columns with a sign each, separated by commas: age=+1,price=-1."""

    name = "column=±1,…"
    structure = dict

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return the signs by the columns' names."""
        if isinstance(value, dict):
            if wrong := [name for name, sign in value.items() if isinstance(sign, bool) or sign not in (1, -1)]:
                raise InputError(f"--monotone: {wrong[0]} is {value[wrong[0]]!r}; write 1 or -1")
            return {str(name): int(sign) for name, sign in value.items()}
        signs: dict[str, int] = {}
        for pair in Names().convert(value, param, ctx):
            name, _, sign = pair.rpartition("=")
            if not name.strip() or sign.strip() not in ("+1", "1", "-1") or name.strip() in signs:
                raise InputError(f"--monotone: {pair!r} is not allowed; write COLUMN=+1 or COLUMN=-1, each column once")
            signs[name.strip()] = int(sign)
        return signs


class Parameters(click.ParamType[dict[str, Any]]):
    """A mapping from names to values, written as YAML's or JSON's: {n_estimators: 300, max_depth: 8}."""

    name = "mapping"
    structure = dict

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:  # noqa: ARG002
        """Return the mapping."""
        if isinstance(value, dict):
            return value
        import yaml

        try:
            content = yaml.safe_load(str(value))
        except yaml.YAMLError:
            content = None
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise InputError(
                f"--estimator-params: {str(value)!r} is no mapping; write such as '{{n_estimators: 300, max_depth: 8}}'"
            )
        return content


class Inline(click.ParamType[Any]):
    """A file, or in a configuration file also what the file would hold."""

    name = "file"

    def __init__(self, structure: type) -> None:
        self.structure = structure

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return the file's path, or its content."""
        return value if isinstance(value, self.structure) else Path(str(value))


class TablePlace(click.ParamType[Any]):
    """What names a table: a file, a folder, a pattern, or one of these in a bucket."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return the path, or the address in a bucket."""
        from trainer.data.buckets import table_place

        return table_place(value if isinstance(value, Path) else str(value))


class Share(click.ParamType[float]):
    """A share of the rows: above 0 and below 1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        """Return the share as a number."""
        try:
            number = float(str(value))
        except ValueError:
            number = -1.0
        if not 0 < number < 1:
            name = param.opts[0] if param is not None else "share"
            raise InputError(f"{name}: {str(value)!r} is not allowed; it must be a number above 0 and below 1")
        return number


class Rows(click.ParamType[int]):
    """A number of rows to explain, or all."""

    name = "rows|all"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ARG002
        """Return the number."""
        return parse_explain(value, param.opts[0] if param is not None else "rows")


class Character(click.ParamType[str]):
    """A character, or its name."""

    name = "char"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the character."""
        return NAMED.get(str(value).lower(), str(value))
