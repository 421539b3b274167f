"""Secrets, which `secrets` or the user has written into files: in no variable and no argument of a container."""

import sys
from pathlib import Path


def read_secret(what: str, file: Path) -> str:
    """Returns a secret; exits with status 1 and one line when its file cannot be read, or is empty.

    Args:
        what: How the line calls it.
        file: It, with or without a line end.
    """
    try:
        secret = file.read_text().rstrip("\n")
    except OSError as error:
        sys.exit(f"error: {what} {file} cannot be read: {error.strerror}")
    if not secret:
        sys.exit(f"error: {what} {file} is empty")
    return secret
