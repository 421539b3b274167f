"""What a backup sees of a storage: its objects, each with what the storage calls its present content."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object.

    Attributes:
        name: Its name below the storage's address.
        size: Its bytes.
        tag: What the storage calls this content: the ETag (S3), the generation (Cloud Storage).
    """

    name: str
    size: int
    tag: str


class ChangedError(Exception):
    """The object has another content by now, or is gone."""


class BackedUp(ABC):
    """A storage that can be backed up, and take its artifacts back.

    Attributes:
        artifact_uri: Its address.
    """

    artifact_uri: str

    @abstractmethod
    def objects(self) -> Iterator[StoredObject]:
        """Yields all objects, as they are at present."""

    @abstractmethod
    def describe(self, path: str, tag: str = "") -> StoredObject | None:
        """Returns an object as it is at present, or an older content of it by its tag; None when it is not there."""

    @abstractmethod
    def fetch_stored(self, stored: StoredObject, target: Any) -> None:
        """Writes just this content of an object to `target`; raises ChangedError when it has another by now."""

    @abstractmethod
    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds: so many bytes, or too many to be one request (None).

        Raises:
            FileExistsError: There is an object of that name, and the storage does not replace it.
        """

    @abstractmethod
    def bring_back(self, stored: StoredObject) -> None:
        """Makes an older content of an object the present one again; raises ChangedError when it is gone."""
