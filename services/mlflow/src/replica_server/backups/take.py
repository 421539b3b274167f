"""Takes a snapshot: the database first, then the artifacts, while the stack goes on.

A client stores an artifact before the row that names it, and only garbage collection removes artifacts, which waits
for its turn. So what is listed after the database was dumped holds every artifact that the dump names.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from replica_server.artifacts.stored import BackedUp, ChangedError, Stored
from replica_server.backups import dump, manifest
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import DUMP, BackupFolder, Digesting, sha256
from replica_server.backups.manifest import Artifact

# Artifacts that are copied side by side, and how many of them are looked at before the next page of the list.
THREADS, PAGE = 4, 500
# One that others write at the same time is asked for again.
ATTEMPTS = 5


def pages(items: Iterator[Any], size: int = PAGE) -> Iterator[list[Any]]:
    """Yields the items in lists of this size."""
    while page := list(islice(items, size)):
        yield page


class Copy:
    """Copies the storage's artifacts into a folder: those whose content is not there yet.

    Args:
        folder: The folder.
        new: The snapshot that is being made.
        repository: The storage.
    """

    def __init__(self, folder: BackupFolder, new: Path, repository: BackedUp) -> None:
        self.folder, self.new, self.repository = folder, new, repository
        self.known: dict[str, Artifact] = {}
        #: How many artifacts were read, and their bytes.
        self.copied = self.copied_size = 0

    def learn(self, snapshot: Path) -> None:
        """Takes over what an earlier snapshot knows of the artifacts; nothing where its manifest is damaged."""
        try:
            self.known = {artifact.name: artifact for artifact in manifest.read_artifacts(snapshot)}
        except BackupError:
            self.known = {}

    def one(self, stored: Stored) -> Artifact | None:
        """Returns an artifact whose content is in the folder; None when it has gone meanwhile."""
        known = self.known.get(stored.name)
        if known and (known.tag, known.size) == (stored.tag, stored.size) and self.folder.holds(known):
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
        raise BackupError(f"{stored.name} changes faster than it can be copied")

    def _fetch(self, stored: Stored) -> Artifact:
        with self.folder.temporary(self.new) as file:
            digesting = Digesting(file)
            self.repository.fetch_stored(stored, digesting)
        temporary = Path(file.name)
        if (size := temporary.stat().st_size) != stored.size:
            raise BackupError(f"{stored.name} came with {size:,} of {stored.size:,} bytes")
        self.folder.keep_content(temporary, digesting.digest)
        self.copied += 1
        self.copied_size += size
        return Artifact(stored.name, size, stored.tag, digesting.digest)

    def all(self) -> Iterator[Artifact]:
        """Yields all artifacts, each with its content in the folder."""
        with ThreadPoolExecutor(THREADS) as pool:
            for page in pages(self.repository.objects()):
                yield from filter(None, pool.map(self.one, page))


def listed(repository: BackedUp) -> Iterator[Artifact]:
    """Yields all artifacts, whose contents stay where they are."""
    for stored in repository.objects():
        yield Artifact(stored.name, stored.size, stored.tag, "")


def take(folder: BackupFolder, repository: BackedUp, stack: str, version: str, schema: str, copying: bool) -> str:
    """Takes a snapshot.

    Args:
        folder: Where to.
        repository: The storage of the artifacts.
        stack: The stack's id.
        version: The version of its files.
        schema: The revision of its database's schema.
        copying: Whether the artifacts' contents are copied, or only listed.

    Returns:
        What it holds, in one line.
    """
    folder.claim(stack)
    former = folder.snapshots()
    new = folder.begin()
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    file = new / DUMP
    dump.write(file)
    # Only now the artifacts: see above.
    with file.open("rb") as content:
        digest = sha256(content)
    size = file.stat().st_size
    header = manifest.Header(
        manifest.FORMAT, stack, version, schema, created, repository.artifact_uri, copying, digest, size
    )
    writer = manifest.Writer(new / manifest.NAME, header)
    copy = Copy(folder, new, repository)
    if copying and former:
        copy.learn(former[-1])
    for artifact in copy.all() if copying else listed(repository):
        writer.add(artifact)
    writer.close()
    snapshot = folder.finish(new)
    what = f"{copy.copied:,} of them new ({copy.copied_size:,} bytes)" if copying else "listed; they stay in the bucket"
    return f"{snapshot.name}: database {size:,} bytes; {writer.count:,} artifacts ({writer.size:,} bytes), {what}"
