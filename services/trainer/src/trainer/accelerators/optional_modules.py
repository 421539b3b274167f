"""Imports a library as if some optional modules were not installed.

Dask and distributed import NumPy, Jinja2 and curses where they find them: for large messages, for notebooks, and for
colours in a log. A command whose variants a cluster's workers train does without all three.

Gain: 0.15 s of the 0.4 s of processor time that ``import distributed`` takes (medians of 3 turns side by side).
Test: ``test_optional_modules.py``.
Can go: when ``import distributed`` takes no longer with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Let imports find no such modules until the exit; those that have been imported stay.

    Args:
        modules: Modules whose absence the library that is imported allows for.
    """
    hidden = [module for module in modules if module not in sys.modules]
    # What the import system documents for it: an import of such a module raises ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for module in hidden:
            sys.modules.pop(module, None)
