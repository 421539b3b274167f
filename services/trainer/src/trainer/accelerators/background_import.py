"""Imports what a fit needs before its run begins, and what the run needs after it while LightGBM is at work."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from trainer.util.signals import defer_signals

#: For how long a thread may keep Python from the other one (seconds): LightGBM asks for it several times an iteration,
#: and at Python's usual 0.005 the fit would wait for the imports.
_TURN = 0.0001


def load(*modules: str) -> None:
    """Import modules, and let a signal wait: cut short, some take what they miss for a package that is not installed.

    Args:
        modules: What LightGBM or scikit-learn would otherwise import in the midst of a fit.
    """
    with defer_signals():
        for module in modules:
            importlib.import_module(module)


@contextmanager
def importing(module: str) -> Iterator[Callable[[Any], None]]:
    """Yield a callback for LightGBM whose first call begins to import ``module``; the import has ended at the exit.

    Not before: by then, all that the fit itself imports is there. Two threads at modules that need one another could
    each get the other's half done.

    Args:
        module: Imported for its effects. Where it fails, whoever needs it meets the same failure.
    """
    thread = Thread(target=_attempt, args=(module,), name=f"import {module}")

    def begin(_state: Any) -> None:
        if thread.ident is None and module not in sys.modules:
            sys.setswitchinterval(_TURN)
            thread.start()

    before = sys.getswitchinterval()
    try:
        yield begin
    finally:
        # Who began nothing has changed nothing: another thread's fit may have.
        if thread.ident is not None:
            try:
                thread.join()
            finally:
                sys.setswitchinterval(before)


def _attempt(module: str) -> None:
    with suppress(Exception):
        importlib.import_module(module)
