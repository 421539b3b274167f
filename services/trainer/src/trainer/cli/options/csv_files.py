"""The options about CSV files: how they are written."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import click

from trainer.cli.options.option import gathered, option
from trainer.cli.options.value_types import Character, Names

CSV_OPTIONS = (
    option(
        "--separator",
        type=Character(),
        metavar="CHAR",
        group="CSV files",
        env="TRAINER_SEPARATOR",
        help="What separates the fields: a character such as ; or |, or tab. By default a comma; in .tsv files a tab.",
    ),
    option(
        "--decimal",
        type=Character(),
        metavar="point|comma",
        group="CSV files",
        env="TRAINER_DECIMAL",
        help="What stands before a number's decimals. By default a point.",
    ),
    option(
        "--missing",
        type=Names(),
        metavar="WORD,…",
        group="CSV files",
        env="TRAINER_MISSING",
        help="Words that stand for a missing value, beside the usual ones (nothing, NA, None and the like).",
    ),
    option(
        "--not-missing",
        type=Names(),
        metavar="WORD,…",
        group="CSV files",
        env="TRAINER_NOT_MISSING",
        help="Words such as NA that are categories in columns of texts, and no missing values there.",
    ),
    option(
        "--header/--no-header",
        default=None,
        group="CSV files",
        env="TRAINER_HEADER",
        help="Whether a line names the columns; without one they are called column_1, column_2 and so on.",
    ),
    option(
        "--skip-lines",
        type=click.IntRange(0, 10_000),
        metavar="N",
        group="CSV files",
        env="TRAINER_SKIP_LINES",
        help="Lines above the header to leave out, such as a title or comments.",
    ),
)


@dataclass(frozen=True)
class CsvOptions:
    """How CSV files are written; None where an option is not given."""

    separator: str | None
    decimal: str | None
    missing: tuple[str, ...] | None
    not_missing: tuple[str, ...] | None
    header: bool | None
    skip_lines: int | None

    @property
    def csv(self) -> dict[str, Any]:
        """What was given, by the names of ``CsvForm``'s fields."""
        names = (field.name for field in fields(CsvOptions))
        return {name: value for name in names if (value := getattr(self, name)) is not None}


csv_options = gathered("form", CsvOptions, *CSV_OPTIONS)
