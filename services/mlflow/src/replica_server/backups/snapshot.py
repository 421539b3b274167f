"""Takes a snapshot: the database first, then the artifacts, while the stack goes on.

A client stores an artifact before the row that names it. Only garbage collection removes artifacts, and it does not run
beside a backup (lock.py). So the list of artifacts, which is made after the dump, holds every artifact that the dump
names.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from replica_server.artifacts.stored_objects import BackedUp, ChangedError, StoredObject
from replica_server.backups import dump, manifest
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import DUMP, USERS, BackupFolder, Digesting, sha256
from replica_server.backups.manifest import Artifact
from replica_server.backups.sorted_lookup import SortedLookup
from replica_server.text import printable

# How many artifacts are copied side by side, and how many are looked at before the next page of the list.
THREADS, PAGE = 4, 500
# How often an artifact is asked for that others write at the same time.
ATTEMPTS = 5


def today() -> int:
    """Returns the day's number."""
    return datetime.now(UTC).toordinal()


def pages(items: Iterator[Any]) -> Iterator[list[Any]]:
    """Yields the items in lists of PAGE."""
    while page := list(islice(items, PAGE)):
        yield page


def whole_lines(snapshot: Path) -> Iterator[Artifact]:
    """Yields a snapshot's artifacts as far as its manifest can be read."""
    with suppress(BackupError):
        yield from manifest.read_artifacts(snapshot)


class Copy:
    """Copies the storage's artifacts into a folder: those whose content is not there yet.

    Args:
        folder: The folder.
        new: The snapshot that is being made.
        repository: The storage.
    """

    def __init__(self, folder: BackupFolder, new: Path, repository: BackedUp) -> None:
        self.folder, self.new, self.repository = folder, new, repository
        # What the last snapshot knows, and what those know that ended half-way. A power failure may have left contents
        # of these with the right size and other bytes, so they are read.
        self._known = [(SortedLookup(whole_lines(path)), False) for path in folder.snapshots()[-1:]]
        self._known += [(SortedLookup(whole_lines(path)), True) for path in folder.unfinished() if path != new]
        # Of all contents that are here, each day a sixteenth is read again: what a disk has lost is copied once more.
        self._read_again = f"{today() % 16:x}"
        #: How many artifacts were read, and their bytes.
        self.copied = self.copied_size = 0

    def _here(self, stored: StoredObject) -> tuple[Artifact | None, bool]:
        """Returns an artifact as an earlier snapshot knows it, and whether its content has to be read to be sure."""
        for known, doubtful in self._known:
            found = known.find(stored.name)
            if found and found.digest and (found.tag, found.size) == (stored.tag, stored.size):
                return found, self.folder.rereads and (doubtful or found.digest.startswith(self._read_again))
        return None, False

    def one(self, stored: StoredObject, known: Artifact | None = None, doubtful: bool = False) -> Artifact | None:
        """Returns an artifact whose content is in the folder; None when it has gone meanwhile."""
        if known and self.folder.holds(known) and (not doubtful or self.folder.is_intact(known)):
            return known
        for attempt in range(ATTEMPTS):
            try:
                return self._fetch(stored)
            except ChangedError:
                found = self.repository.describe(stored.name)
                if found is None:
                    return None
                stored = found
            except MlflowException:
                # The storage may answer the next time.
                if attempt == ATTEMPTS - 1:
                    raise
        raise BackupError(f"{printable(stored.name)} changes faster than it can be copied")

    def _fetch(self, stored: StoredObject) -> Artifact:
        with self.folder.room_for(stored.size), self.folder.temporary(self.new) as file:
            temporary = Path(file.name)
            try:
                digesting = Digesting(file)
                self.repository.fetch_stored(stored, digesting)
                file.flush()
                if (size := temporary.stat().st_size) != stored.size:
                    raise BackupError(f"{printable(stored.name)} came with {size:,} of {stored.size:,} bytes")
            except BaseException:
                temporary.unlink()
                raise
        self.folder.keep_content(temporary, digesting.digest)
        self.copied += 1
        self.copied_size += size
        return Artifact(stored.name, size, stored.tag, digesting.digest)

    def all(self) -> Iterator[Artifact]:
        """Yields all artifacts, each with its content in the folder."""
        with ThreadPoolExecutor(THREADS) as pool:
            for page in pages((stored, *self._here(stored)) for stored in self.repository.objects()):
                yield from filter(None, pool.map(lambda found: self.one(*found), page))


def listed(repository: BackedUp) -> Iterator[Artifact]:
    """Yields all artifacts, whose contents stay where they are."""
    for stored in repository.objects():
        yield Artifact(stored.name, stored.size, stored.tag, "")


def keep_users(new: Path, users: bytes) -> str:
    """Writes the proxy's users into a new snapshot, if there are any, for its owner only; returns their SHA-256."""
    if not users:
        return ""
    file = new / USERS
    file.touch(mode=0o600)
    file.write_bytes(users)
    return hashlib.sha256(users).hexdigest()


def take_snapshot(
    folder: BackupFolder,
    repository: BackedUp,
    stack: str,
    version: str,
    schema: str,
    copying: bool,
    check: Callable[[], None] = lambda: None,
    users: bytes = b"",
) -> str:
    """Takes a snapshot.

    Args:
        folder: Where to.
        repository: The storage of the artifacts.
        stack: The stack's id.
        version: The version of its files.
        schema: The revision of its database's schema.
        copying: Whether the artifacts' contents are copied, or only listed.
        check: Called before the snapshot counts; raises BackupError where it must not.
        users: The proxy's users; empty: there are none.

    Returns:
        What it holds, in one line.
    """
    folder.claim(stack)
    with folder.begin() as new:
        created = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        file = new / DUMP
        with folder.room_for(0):
            dump.write(file)
        # Only now the artifacts: see above.
        with file.open("rb") as content:
            digest = sha256(content)
        size = file.stat().st_size
        header = manifest.Header(
            manifest.FORMAT,
            stack,
            version,
            schema,
            created,
            repository.artifact_uri,
            copying,
            digest,
            size,
            keep_users(new, users),
        )
        writer = manifest.Writer(new / manifest.NAME, header)
        copy = Copy(folder, new, repository)
        for artifact in copy.all() if copying else listed(repository):
            writer.add(artifact)
        writer.close()
        check()
        snapshot = folder.finish(new)
    what = f"{copy.copied:,} of them new ({copy.copied_size:,} bytes)" if copying else "listed; they stay in the bucket"
    return f"{snapshot.name}: database {size:,} bytes; {writer.count:,} artifacts ({writer.size:,} bytes), {what}"
