"""The programs of the client tests: outside CI, a test whose program is missing is skipped and says what to install."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(*names: str, install: str) -> str:
    """Returns the path of the first of these programs that is there.

    Without any of them the test is skipped; in CI (``CI`` is set) it fails, so that nothing passes unseen.

    Args:
        names: What the program may be called.
        install: What to install, for the message.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    message = f"{names[0]} is missing: run scripts/ensure-clients, or install {install}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
