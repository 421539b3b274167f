"""The user that this process runs as."""

from __future__ import annotations

import os


def user_name() -> str:
    """Return the name, or else the number, of the user that this process is."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())
