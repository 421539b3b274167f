"""Looks names up in a long sorted list (of a storage, or in a manifest) without holding the list in memory."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Its name."""


T = TypeVar("T", bound=Named)


class SortedLookup(Generic[T]):
    """Finds things by name in a list that is sorted by it, as storages and manifests are: one at a time is in memory.

    In a list that is not sorted some are not found, so nobody may rely on it that what is not found is not there.

    Args:
        things: The list.
    """

    def __init__(self, things: Iterator[T]) -> None:
        self._things = things
        self._at = next(things, None)

    def find(self, name: str) -> T | None:
        """Returns the thing of a name; names have to be asked for in their order."""
        while self._at is not None and self._at.name < name:
            self._at = next(self._things, None)
        return self._at if self._at is not None and self._at.name == name else None
