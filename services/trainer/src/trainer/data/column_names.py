"""Warnings on names of columns or classes that are alike: a line says so, or which name was probably meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from trainer.util.text import folded, listed, nearest, quoted

#: What names may differ in, and what makes them the same again.
_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("white space", lambda name: " ".join(name.split())),
    ("capital letters", str.casefold),
    ("their Unicode form", lambda name: unicodedata.normalize("NFKC", name)),
)


def alike_names_warnings(names: Iterable[str]) -> list[str]:
    """Return a warning on each group of features whose names are easily taken for one another.

    A later table that has one of them alone is refused, and so is one that writes it in a third way.
    """
    return [
        f"columns {_quoted(group)} have names that differ in {_difference(group)} alone: each is a feature of its own"
        for group in _alike(names)
    ]


def alike_classes_warnings(target: object, classes: Iterable[str]) -> list[str]:
    """Return a warning on each group of a target's classes that are easily taken for one another."""
    return [
        f"classes {_quoted(group)} of target {target} differ in {_difference(group)} alone: each is a class of its own"
        for group in _alike(classes)
    ]


def _alike(names: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(folded(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _quoted(group: Sequence[str]) -> str:
    # Each of them, whatever is in it: what they differ in may not be seen otherwise.
    return ", ".join(map(quoted, group))


def _difference(group: Sequence[str]) -> str:
    """Return in what some names differ, in words."""
    for what, form in _FORMS:
        if len({form(name) for name in group}) == 1:
            return what
    return "capital letters, white space or their Unicode form"


def meant_column(name: str, others: Sequence[str]) -> str:
    """Return which of a table's other columns may be one that it lacks, as the rest of a line; empty for none."""
    close = nearest(name, others)
    if close is not None:
        return f"; is {quoted(name)} the file's {quoted(close)}?"
    return f"; the file's other columns are {listed(others)}" if others else ""
