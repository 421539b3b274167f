"""Which names an artifact can have.

Both storages get the same answer. MinIO keeps files: a part of a name has a file's limits, and it takes a name with an
empty part for the name without it. Cloud Storage would accept both.
"""

import unicodedata

from mlflow.exceptions import MlflowException

# In bytes: of a file system's names, and of both storages'.
LONGEST_PART = 255
LONGEST = 1024


def fault(name: str) -> str:
    """Returns what is wrong with an artifact's name, as the end of a sentence; empty when nothing is."""
    if not name:
        return "is empty"
    # A surrogate is what is left of bytes that are no text.
    if any(character == "\0" or unicodedata.category(character) == "Cs" for character in name):
        return "holds a NUL character, or one that is no text"
    parts = name.split("/")
    if "" in parts:
        return "has an empty part"
    if {".", ".."} & set(parts):
        return "has a part that is . or .."
    if max(len(part.encode()) for part in parts) > LONGEST_PART:
        return f"has a part of more than {LONGEST_PART} bytes"
    if len(name.encode()) > LONGEST:
        return f"is longer than {LONGEST:,} bytes"
    return ""


def check(name: str, what: str = "The artifact's name") -> None:
    """Refuses a name that no artifact can have.

    Args:
        name: It, with the folders that it is in.
        what: What the message calls it.

    Raises:
        MlflowException: With status 400.
    """
    if found := fault(name):
        raise MlflowException.invalid_parameter_value(f"{what} {found}: {name[:100]!r}")
