"""Imports what a fit needs before its run begins, and what the run needs after it while LightGBM is at work.

Gain: a run by itself needs MLflow's model formats and matplotlib after its fit, about a second of imports. On a second
processor that is free, they overlap the fit; the processor time is the same, so a busy machine gains nothing.
Test: ``test_background_import.py``.
Can go: when these imports take less than 0.05 s, or runs by themselves are made in a process that has them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from trainer.util.signals import defer_signals

#: The interpreter's switch interval while the import runs, in seconds. LightGBM takes the interpreter's lock several
#: times an iteration; at the default of 0.005 s it would wait for the import each time.
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

    At the first iteration all that the fit itself imports is there. Two threads that import modules which need one
    another could each see the other's half initialised.

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
