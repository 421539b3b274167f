"""Backups in a bucket, laid out as in a folder: what is in a snapshot is written first, and its manifest last.

A snapshot without its manifest is none, so one that is cut off is never taken for a whole one. The manifests of the
newest snapshot and of one that was cut off are kept on this machine, in a volume; the bucket is asked once which
contents it has. An upload is there whole or not at all, so a content is not read again to be sure of it, as on a disk.
"""

import hashlib
import io
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from replica_server.backups import manifest
from replica_server.backups.bucket_clients import Store
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import (
    DUMP,
    NAME,
    OWNER,
    UNFINISHED,
    USERS,
    BackupFolder,
    Digesting,
    Nowhere,
    owner_line,
    remove,
    see_owner,
)

DIGEST = re.compile("[0-9a-f]{64}")
# Objects that are removed side by side.
THREADS = 8


class BackupBucket(BackupFolder):
    """The backups in a bucket.

    Args:
        store: The bucket, or a folder in one.
        work: A folder for what is on its way, and for manifests.
    """

    rereads = False

    def __init__(self, store: Store, work: Path) -> None:
        super().__init__(work / hashlib.sha256(store.address.encode()).hexdigest()[:16])
        self.store = store
        self._listing = threading.Lock()
        self._present: dict[bytes, int] | None = None
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def claim(self, stack: str) -> None:
        """Makes this the place of a stack's backups; raises BackupError when it is another's."""
        owner = io.BytesIO()
        if not self.store.read(OWNER, owner):
            with NamedTemporaryFile(dir=self.root) as file:
                file.write(owner_line(stack).encode())
                file.flush()
                if self.store.write(OWNER, Path(file.name), only_new=True):
                    return
            # Another stack has come before.
            self.store.read(OWNER, owner)
        see_owner(owner.getvalue(), stack)

    def _names(self) -> list[str]:
        """Returns the names of the whole snapshots, the oldest first."""
        parts = (name.split("/") for name, _ in self.store.names("mlflow-"))
        return [name for name, *rest in parts if rest == [manifest.NAME] and NAME.fullmatch(name)]

    def newest(self) -> str | None:
        """Returns the newest snapshot's name."""
        return max(self._names(), default=None)

    def _load(self, name: str, what: str) -> None:
        """Brings a snapshot's file here, if the bucket has it."""
        place = self.root / name / what
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.unlink(missing_ok=True)
        with NamedTemporaryFile(dir=place.parent) as file:
            if self.store.read(f"{name}/{what}", file):
                file.flush()
                os.link(file.name, place)

    def snapshot(self, name: str, with_dump: bool = False) -> Path:
        """Returns where a snapshot's manifest is, and its dump and users, once they have been brought here."""
        if not NAME.fullmatch(name):
            raise BackupError(f"{name} is no name of a backup")
        self._load(name, manifest.NAME)
        if with_dump:
            self._load(name, DUMP)
            self._load(name, USERS)
        return self.root / name

    @contextmanager
    def begin(self) -> Iterator[Path]:
        """Gives the new folder of a snapshot, beside the manifest of the newest one."""
        newest = self.newest()
        for left in self.root.glob("mlflow-*"):
            remove(left)
        if newest:
            self._load(newest, manifest.NAME)
        with super().begin() as new:
            yield new

    def finish(self, new: Path) -> Path:
        """Writes a whole snapshot: the dump and the users, and then the manifest."""
        name = new.name.removeprefix(UNFINISHED)
        parts = [what for what in (DUMP, USERS) if (new / what).is_file()]
        for what in (*parts, manifest.NAME):
            self.store.write(f"{name}/{what}", new / what)
        snapshot = super().finish(new)
        for what in parts:
            (snapshot / what).unlink()
        return snapshot

    @property
    def _contents(self) -> dict[bytes, int]:
        """The bytes of each content that is in the bucket, by its SHA-256."""
        with self._listing:
            if self._present is None:
                listed = ((name.rpartition("/")[2], size) for name, size in self.store.names("objects/"))
                self._present = {bytes.fromhex(name): size for name, size in listed if DIGEST.fullmatch(name)}
            return self._present

    @staticmethod
    def _place(digest: str) -> str:
        return f"objects/{digest[:2]}/{digest}"

    def holds(self, artifact: manifest.Artifact) -> bool:
        """Tells whether an artifact's content is in the bucket, by its size."""
        return bool(artifact.digest) and self._contents.get(bytes.fromhex(artifact.digest)) == artifact.size

    def keep_content(self, temporary: Path, digest: str) -> None:
        """Stores a content under the name of its digest, unless it is there."""
        key, size = bytes.fromhex(digest), temporary.stat().st_size
        if self._contents.get(key) != size:
            self.store.write(self._place(digest), temporary)
            self._contents[key] = size
        temporary.unlink()

    def is_intact(self, artifact: manifest.Artifact) -> bool:
        """Tells whether an artifact's content is in the bucket, and is what it was."""
        digesting = Digesting(Nowhere())
        return self.store.read(self._place(artifact.digest), digesting) and digesting.digest == artifact.digest

    @contextmanager
    def content(self, artifact: manifest.Artifact) -> Iterator[IO[bytes]]:
        """Gives an artifact's content, as a file."""
        with self.room_for(artifact.size), NamedTemporaryFile(dir=self.root) as file:
            if not self.store.read(self._place(artifact.digest), file):
                raise BackupError(f"{artifact.digest} has gone from {self.store.address} meanwhile")
            file.seek(0)
            yield file

    def prune(self, keep: int) -> Iterator[str]:
        """Removes all but the newest snapshots, and contents that none of those names; yields what went."""
        names = self._names()
        for name in names[:-keep]:
            # The manifest first: half a snapshot is none.
            for what in (manifest.NAME, DUMP):
                self.store.remove(f"{name}/{what}")
            yield name
        # The users as well; and what was cut off has a dump, and no manifest.
        kept = names[-keep:]
        for left in [name for name, _ in self.store.names("mlflow-") if name.split("/")[0] not in kept]:
            self.store.remove(left)
        if names[:-keep]:
            named: set[bytes] = set()
            for name in kept:
                self._load(name, manifest.NAME)
                named |= {bytes.fromhex(artifact.digest) for artifact in manifest.read_artifacts(self.root / name)}
            doomed = [digest.hex() for digest in self._contents if digest not in named]
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda digest: self.store.remove(self._place(digest)), doomed))
