"""How CSV files are written: their separator, decimal point and header, and which words stand for a missing value.

A model remembers how its files were written, and reads later files alike. This module imports nothing heavy, because a
server reads requests by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

from trainer.config.values import MISSING_VALUES, parse_number
from trainer.util.errors import InputError
from trainer.util.text import one_line

#: Characters that have a name on the command line.
NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "point": ".", "space": " ", "pipe": "|"}
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
TAB_SUFFIXES = (".tsv", ".tsv.gz")

#: A number such as 1,234: the comma may separate thousands, or decimals.
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}")


class Named(Protocol):
    """A path of a file, or what is like one."""

    @property
    def name(self) -> str:
        """The file's name."""
        ...


@dataclass(frozen=True)
class CsvForm:
    """How CSV files are written.

    Args:
        separator: The character between fields; by default a comma, in a .tsv file a tab.
        decimal: The character before a number's decimals.
        missing: Words that stand for a missing value, beside the usual ones (an empty field, NA, None and the like).
        not_missing: Words among the usual ones, such as NA, that are categories in columns of texts.
        header: Whether a line names the columns; without one they are called ``column_1``, ``column_2`` and so on.
        skip_lines: How many lines to leave out above the header, or above the first row.
    """

    separator: str | None = None
    decimal: str = "."
    missing: tuple[str, ...] = ()
    not_missing: tuple[str, ...] = ()
    header: bool = True
    skip_lines: int = 0

    def __post_init__(self) -> None:
        """Refuse a form that no file can have.

        Raises:
            InputError: A separator or a decimal point that no file can have.
        """
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n.-+' + "0123456789"):
            raise InputError(
                f"--separator: {self.separator!r} is not allowed; write one character such as ; or |, or tab"
            )
        if self.decimal not in (".", ","):
            raise InputError(f"--decimal: {self.decimal!r} is not allowed; write . or ,")
        if both := set(self.missing).intersection(self.not_missing):
            raise InputError(f"{min(both)!r} is named by both --missing and --not-missing")

    @classmethod
    def noted(cls, content: Any) -> CsvForm:
        """Return what ``note`` wrote; the usual form for what it did not."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = content if isinstance(content, dict) else {}
        given: dict[str, Any] = {name: value for name, value in values.items() if name in known}
        plain: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in given.items()}
        return cls(**plain)

    def note(self) -> dict[str, Any]:
        """Return what is unlike the usual form, as plain data."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != getattr(CsvForm, name, None)
        }

    def with_given(self, given: Mapping[str, Any]) -> CsvForm:
        """Return this form with the values that are not None in place of its own."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def separator_of(self, path: Named) -> str:
        """Return what separates the fields of a file."""
        return self.separator or ("\t" if path.name.lower().endswith(TAB_SUFFIXES) else ",")

    @cached_property
    def gaps(self) -> tuple[str, ...]:
        """The words for a missing value in columns of numbers and of true and false."""
        return (*MISSING_VALUES, *self.missing)

    @cached_property
    def text_gaps(self) -> tuple[str, ...]:
        """The words for a missing value in columns of texts."""
        return tuple(word for word in self.gaps if word not in self.not_missing)

    def parse_number(self, text: str) -> float:
        """Return the number that a text is.

        Raises:
            ValueError: It is none.
        """
        if self.decimal == ",":
            if "." in text:
                raise ValueError(text)
            text = text.replace(",", ".")
        return parse_number(text)

    def hint(self, value: str, *, first_row: bool = False) -> str:
        """Return which option may read a value that is no number; empty where none does."""
        other = "." if self.decimal == "," else ","
        if other in value:
            try:
                CsvForm(decimal=other).parse_number(value.strip())
            except ValueError:
                pass
            else:
                if THOUSANDS.fullmatch(value.strip()):
                    return f" (--decimal {other} reads it, unless thousands are meant: write those as digits alone)"
                return f" (--decimal {other} reads it)"
        if first_row and not self.header:
            return " (--header, if the first line names the columns)"
        return ""


def separator_word(separator: str) -> str:
    """Return what fields are separated by, in words."""
    return _WORDS.get(separator, one_line(repr(separator), 20))


def separator_option(separator: str) -> str:
    """Return the option that names a separator."""
    name = next((name for name, character in NAMED.items() if character == separator), separator)
    return f"--separator {name}"
