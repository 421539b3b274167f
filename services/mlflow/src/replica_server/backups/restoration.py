"""Puts a snapshot's artifacts back into the storage, and tells what is missing: in the backup, or in the storage."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from replica_server.artifacts.repository import SMALL
from replica_server.artifacts.stored_objects import BackedUp, ChangedError, StoredObject
from replica_server.backups import manifest
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import DUMP, USERS, BackupFolder, Digesting, Nowhere, sha256
from replica_server.backups.manifest import Artifact, Header
from replica_server.backups.snapshot import THREADS, pages
from replica_server.backups.sorted_lookup import SortedLookup


@dataclass
class Done:
    """What became of the artifacts: their names, or how many.

    Attributes:
        same: Those that the storage has already.
        written: Those that were put back.
        kept: Those that have another content in the storage, where no name can be written again.
    """

    same: int = 0
    written: int = 0
    kept: list[str] = field(default_factory=list)


def check_database(snapshot: Path, header: Header) -> None:
    """Raises BackupError when a snapshot's dump is not what it was."""
    try:
        with (snapshot / DUMP).open("rb") as file:
            intact = sha256(file) == header.database
    except FileNotFoundError:
        intact = False
    if not intact:
        raise BackupError(f"the database in {snapshot.name} is missing or damaged: nothing was changed")


def read_users(snapshot: Path, header: Header) -> bytes:
    """Returns the proxy's users in a snapshot; empty where it has none. Raises BackupError when they are damaged."""
    if not header.users:
        return b""
    file = snapshot / USERS
    users = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(users).hexdigest() != header.users:
        raise BackupError(f"the proxy's users in {snapshot.name} are missing or damaged: nothing was changed")
    return users


class Restoration:
    """The artifacts of one snapshot, and the storage that they go to.

    Args:
        folder: The folder of backups.
        snapshot: The snapshot.
        repository: The storage.
    """

    def __init__(self, folder: BackupFolder, snapshot: Path, repository: BackedUp) -> None:
        self.folder, self.snapshot, self.repository = folder, snapshot, repository

    def _pages(self) -> Iterator[list[tuple[Artifact, StoredObject | None]]]:
        """Yields the snapshot's artifacts, each with what the storage's list has under its name, a page at a time."""
        present = SortedLookup(self.repository.objects())
        return pages((one, present.find(one.name)) for one in manifest.read_artifacts(self.snapshot))

    @staticmethod
    def _is_same(artifact: Artifact, found: StoredObject | None) -> bool:
        return found is not None and (found.tag, found.size) == (artifact.tag, artifact.size)

    def _is_there(self, pair: tuple[Artifact, StoredObject | None]) -> bool:
        artifact, found = pair
        if artifact.digest:
            return self.folder.is_intact(artifact)
        return self._is_same(artifact, found) or self.repository.describe(artifact.name, artifact.tag) is not None

    def missing(self) -> Iterator[Artifact]:
        """Yields the artifacts that cannot be put back: missing or damaged in the backup, or gone from the bucket."""
        with ThreadPoolExecutor(THREADS) as pool:
            for page in self._pages():
                answers = zip(page, pool.map(self._is_there, page), strict=True)
                yield from (artifact for (artifact, _), there in answers if not there)

    def _put(self, pair: tuple[Artifact, StoredObject | None]) -> str:
        artifact, found = pair
        if self._is_same(artifact, found):
            return "same"
        try:
            if artifact.digest:
                with self.folder.content(artifact) as file:
                    self.repository.write_object(file, artifact.size if artifact.size <= SMALL else None, artifact.name)
            else:
                self.repository.bring_back(StoredObject(artifact.name, artifact.size, artifact.tag))
        except FileExistsError:
            return "kept"
        return "written"

    def put_back(self, without: set[str]) -> Done:
        """Puts back what the storage does not have, but the artifacts of these names."""
        done = Done()
        with ThreadPoolExecutor(THREADS) as pool:
            for everything in self._pages():
                page = [pair for pair in everything if pair[0].name not in without]
                for (artifact, _), what in zip(page, pool.map(self._put, page), strict=True):
                    if what == "kept":
                        done.kept.append(artifact.name)
                    elif what == "same":
                        done.same += 1
                    else:
                        done.written += 1
        return done

    def _matches(self, pair: tuple[Artifact, StoredObject | None]) -> bool:
        artifact, found = pair
        found = found or self.repository.describe(artifact.name)
        if found is None or found.size != artifact.size:
            return False
        if not artifact.digest:
            return found.tag == artifact.tag
        digesting = Digesting(Nowhere())
        try:
            self.repository.fetch_stored(found, digesting)
        except ChangedError:
            return False
        return digesting.digest == artifact.digest

    def differences(self) -> Iterator[Artifact]:
        """Yields the artifacts whose content in the storage, which is read, is not that of the snapshot."""
        with ThreadPoolExecutor(THREADS) as pool:
            for page in self._pages():
                answers = zip(page, pool.map(self._matches, page), strict=True)
                yield from (artifact for (artifact, _), same in answers if not same)
