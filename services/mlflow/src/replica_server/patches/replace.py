"""Replaces a name in MLflow; the start ends with one line if MLflow no longer has that name.

Without that check, a new version of MLflow would go on with its own code, and nobody would notice.
"""

import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from mlflow import __version__


def replace(place: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Puts something else under a name of MLflow's; exits with status 1 and one line when MLflow has no such name.

    Args:
        place: The module, class or object with the name; or a mapping, such as an application's `view_functions`.
        name: The name.
        make: Returns the replacement, given what is there.
    """
    require(place, name)
    if isinstance(place, MutableMapping):
        place[name] = make(place[name])
    else:
        setattr(place, name, make(getattr(place, name)))


def require(place: Any, name: str) -> None:
    """Exits with status 1 and one line when MLflow has no such name any more."""
    if name not in place if isinstance(place, MutableMapping) else not hasattr(place, name):
        where = getattr(place, "__name__", None) or type(place).__name__
        sys.exit(
            f"error: MLflow {__version__} has no {name} in {where}, which this server replaces "
            "(docs/contributors/replacements.md)"
        )
