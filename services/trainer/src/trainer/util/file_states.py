"""Tells whether two processes see the same files, without reading them: by what the system says of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Of a folder with more entries nothing is said.
_MOST = 1_000


@dataclass(frozen=True)
class FileStates:
    """The states of files and of all that is in folders.

    Two are equal where the machine, since its last start, is the same, and so are each entry's path, device, number,
    size, and times of change: that of its content, which programs set at will, and that of its entry.

    Attributes:
        boot: Identifies the machine since its last start.
        entries: Device, number, size in bytes and the times of change in nanoseconds, by the entries' absolute paths.
    """

    boot: str
    entries: Mapping[str, tuple[int, int, int, int, int]]

    @classmethod
    def of(cls, places: Sequence[Path]) -> FileStates | None:
        """Return the states of files and folders.

        None where there is no such entry, where this process may not read one, where there are too many, or no Linux.
        """
        entries: dict[str, tuple[int, int, int, int, int]] = {}
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text()
            for place in places:
                whole = place.absolute()
                for path in (whole, *(whole.rglob("*") if whole.is_dir() else ())):
                    state = path.stat()
                    times = (state.st_mtime_ns, state.st_ctime_ns)
                    entries[str(path)] = (state.st_dev, state.st_ino, state.st_size, *times)
                    if len(entries) > _MOST or not os.access(path, os.R_OK):
                        return None
        except OSError:
            return None
        return cls(boot, entries)

    @property
    def size(self) -> int:
        """The sum of all sizes, in bytes."""
        return sum(size for _, _, size, _, _ in self.entries.values())
