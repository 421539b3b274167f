"""Parcels that the workers of a machine share: one of them fetches each into a file, which all map into their memory.

A table then travels once to each machine, and is there in memory once. What a worker writes to its arrays is its own.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainer.parallel.cluster.parcels import digest_of

#: Takes a digest and what makes memory of a number of bytes; returns that memory, with the parcel in it.
Fetch = Callable[[str, Callable[[int], memoryview]], memoryview]

#: The attribute of a file that says in which state its digest was right.
_CHECKED = "user.trainer.checked"


class SharedTables:
    """A folder of parcels.

    Args:
        folder: The folder, which all workers of the machine have.
        room: Bytes that it holds; the least recently used ones go.
        fetch: Fetches a parcel from the scheduler, and checks its digest.
    """

    def __init__(self, folder: Path, room: int, fetch: Fetch) -> None:
        self._folder, self._room, self._fetch = folder, room, fetch

    def get(self, digest: str) -> memoryview:
        """Return the parcel of this digest.

        Raises:
            ClusterError: The scheduler has not got it.
            OSError: The folder cannot be written to, or its disk is full.
        """
        file = self._folder / digest
        with (self._folder / ".lock").open("w") as lock:
            # One fetches, the others wait for it. A worker that dies leaves the lock to the next one.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (found := _mapped(file)) is not None and (_is_checked(file) or digest_of(found) == digest):
                _mark_checked(file)
                return found
            arriving = self._folder / ".arriving"
            # A new file: whoever was interrupted may still write to the one that it began.
            arriving.unlink(missing_ok=True)
            with arriving.open("xb+") as stream:

                def memory(size: int) -> memoryview:
                    # Now, while a full disk is an error: later, it would kill this process.
                    os.posix_fallocate(stream.fileno(), 0, max(size, 1))
                    return memoryview(mmap.mmap(stream.fileno(), max(size, 1)))[:size]

                self._fetch(digest, memory)
            _mark_checked(arriving)
            arriving.replace(file)
            self._make_room(file)
            mapped = _mapped(file)
            assert mapped is not None  # noqa: S101 - it has just been written, and the lock is held
            return mapped

    def _make_room(self, last: Path) -> None:
        kept = sorted(self._folder.glob("[0-9a-f]*"), key=lambda file: file.stat().st_mtime_ns)
        total = sum(file.stat().st_size for file in kept)
        for file in kept:
            if total > self._room and file != last:
                total -= file.stat().st_size
                # Who has mapped it keeps it until then.
                file.unlink()


def _mark_checked(file: Path) -> None:
    """Remember when a file was used, and that its digest was right then."""
    os.utime(file)
    # Where a file system keeps no attributes, the digest is computed each time.
    with suppress(OSError):
        os.setxattr(file, _CHECKED, _state(file))


def _is_checked(file: Path) -> bool:
    """Tell whether a file's digest was right, and nothing has been written to it since."""
    try:
        return os.getxattr(file, _CHECKED) == _state(file)
    except OSError:
        return False


def _state(file: Path) -> bytes:
    # A machine that lost its power may have kept the attribute, and not all of the file.
    boot, its = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), file.stat()
    return f"{boot} {its.st_size} {its.st_mtime_ns}".encode()


def _mapped(file: Path) -> memoryview | None:
    """Return a file's content, which can be written to without changing the file; None where there is no such file."""
    try:
        with file.open("rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY))
    except (FileNotFoundError, ValueError):  # ValueError: it is empty
        return None
