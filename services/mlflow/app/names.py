"""Which names an artifact can have.

Both storages get the same answer. MinIO keeps files: a part of a name has a file's limits, and it takes a name with an
empty part for the name without it. Cloud Storage would accept both.
"""

import posixpath
import unicodedata
from typing import IO, Any
from urllib.parse import urlsplit

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException

from app.streamed import StreamedRepository

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


class ChecksNames(StreamedRepository):
    """A repository that asks the storage only for names that an artifact can have."""

    def _check(self, path: str) -> None:
        check(path)
        root = urlsplit(self.artifact_uri).path.strip("/")  # type: ignore[attr-defined]
        check(posixpath.join(root, path))

    def store(self, path: str, incoming: Any) -> None:
        """Stores a request's body."""
        self._check(path)
        super().store(path, incoming)

    def read_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`."""
        self._check(path)
        super().read_object(path, target)  # type: ignore[safe-super]

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Lists what is in a folder, whose name may end in a slash."""
        path = (path or "").removesuffix("/")
        if path:
            self._check(path)
        return list(super().list_artifacts(path or None))  # type: ignore[misc]

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Downloads a file."""
        self._check(artifact_path)
        return str(super().download_artifacts(artifact_path, dst_path))  # type: ignore[misc]
