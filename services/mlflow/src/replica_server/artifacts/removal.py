"""What garbage collection removes from a storage: objects with all their versions."""

from dataclasses import dataclass


class RemovalError(Exception):
    """The storage did not remove everything; the message says in one line what is left, or why."""


@dataclass
class Removed:
    """How much was removed.

    Attributes:
        versions: Objects and their older versions.
        size: Their bytes.
    """

    versions: int = 0
    size: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(self.versions + other.versions, self.size + other.size)
