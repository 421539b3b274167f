"""The names that a registered model can have. Imports nothing heavy: a command checks its name before anything else."""

from __future__ import annotations

import re

from trainer.util.errors import InputError

_NAME = re.compile(r"[^/:@'\"`\\]+")


def check_name(name: str) -> str:
    """Return a registered model's name.

    Raises:
        InputError: MLflow, or a model URI, cannot hold this name.
    """
    if not name.strip() or len(name) > 250 or not _NAME.fullmatch(name):
        raise InputError(
            f"--model-name: {name!r} is not allowed; write up to 250 characters, without / : @ \\ and quotation marks"
        )
    return name
