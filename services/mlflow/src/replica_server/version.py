"""The version of the stack's files: the image carries it (compose.yaml, services/trainer/pyproject.toml)."""

import os
import re

#: Set in the image; a test or a checkout has none.
VERSION = os.environ.get("REPLICA_VERSION") or "0+unknown"


def parts(version: str) -> tuple[int, ...]:
    """Returns a version's numbers, for comparison."""
    return tuple(int(number) for number in re.findall("[0-9]+", version)[:3])


def is_newer(version: str) -> bool:
    """Tells whether a version is a later one than this."""
    return parts(version) > parts(VERSION)
