"""On how many test rows a run computes the contributions of its features: the option ``--explain``."""

from __future__ import annotations

import sys

from trainer.util.errors import InputError

#: More rows than any table has.
ALL = sys.maxsize
#: With fewer, the order of the features is chance.
FEWEST = 100


def parse_explain(value: object, label: str = "explain") -> int:
    """Return a number of rows from what a user wrote: 0 for none, ``ALL`` for ``all``.

    Args:
        value: A number or a text.
        label: How a message calls it.

    Raises:
        InputError: It is neither ``all``, 0, nor a whole number of ``FEWEST`` or more.
    """
    text = str(value).strip().lower()
    if text == "all":
        return ALL
    if text.isdecimal() and (int(text) == 0 or int(text) >= FEWEST):
        return min(int(text), ALL)
    raise InputError(f"{label}: {str(value)!r} is not allowed; it must be all, or a number of rows from {FEWEST}")
