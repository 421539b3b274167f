"""A folder of backups: a subfolder for each snapshot, and beside them the artifacts, each content once.

    stack.json                                  whose backups these are
    mlflow-20261129T030000Z/manifest.jsonl.gz   what the snapshot holds
    mlflow-20261129T030000Z/database.dump
    mlflow-20261129T030000Z/users               who logs in at the proxy, with hashes of passwords; if there is one
    objects/ab/abcd…                            an artifact's content, named by its SHA-256

A snapshot is made under another name and renamed at its end, so one with its name is whole. Contents never change:
the next snapshot adds what is new. Whatever ends one half-way leaves contents, and a manifest of those, by which the
next one finds them.
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, BinaryIO, Protocol

from replica_server.backups import manifest
from replica_server.backups.errors import BackupError

DUMP, USERS = "database.dump", "users"
OWNER = "stack.json"
BLOCK = 2**20
# A snapshot's folder, or the file of a database alone that an earlier version wrote.
NAME = re.compile(r"mlflow-[0-9]{8}T[0-9]{6}Z(\.dump)?")
UNFINISHED = ".new-"
REMOVED = "-removed"
# What a backup leaves free on the folder's disk, which may be the database's too: 1 GiB, or a twentieth of a small one.
RESERVE, SHARE = 2**30, 20


def now() -> datetime:
    """Returns the time (UTC) by which a snapshot is called."""
    return datetime.now(UTC)


def sha256(file: BinaryIO) -> str:
    """Returns the SHA-256 of what a file holds from here on."""
    found = hashlib.sha256()
    while block := file.read(BLOCK):
        found.update(block)
    return found.hexdigest()


class Target(Protocol):
    """What can be written to."""

    def write(self, content: bytes, /) -> int:
        """Takes the next bytes in."""


class Nowhere:
    """A file that keeps nothing."""

    def write(self, content: bytes) -> int:
        """Takes the next bytes in."""
        return len(content)


def owner_line(stack: str) -> str:
    """Returns what says whose backups these are."""
    return json.dumps({"stack": stack}) + "\n"


def see_owner(text: str | bytes, stack: str) -> None:
    """Raises BackupError unless a stack is the one that a place's file OWNER names."""
    try:
        owner = json.loads(text)["stack"]
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{OWNER} in the folder is damaged: it does not say whose backups these are") from error
    if owner != stack:
        raise BackupError("the folder holds the backups of another stack: name another folder")


def remove(path: Path) -> None:
    """Removes a file, or a folder with what is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


class Digesting:
    """Passes what is written on to a file, and takes its digest."""

    def __init__(self, file: Target) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Takes the next bytes in."""
        self._hash.update(content)
        return self._file.write(content)

    @property
    def digest(self) -> str:
        """The SHA-256 of what has been written."""
        return self._hash.hexdigest()


class BackupFolder:
    """A folder of backups.

    Args:
        root: Its path.
    """

    #: Whether contents that are here are read again now and then: a disk may have lost them.
    rereads = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self._room = threading.Lock()
        self._expected = 0

    def claim(self, stack: str) -> None:
        """Makes this the folder of a stack's backups; raises BackupError when it is another's."""
        file = self.root / OWNER
        try:
            see_owner(file.read_text(), stack)
        except FileNotFoundError:
            new = file.with_suffix(".new")
            with new.open("w") as content:
                content.write(owner_line(stack))
                content.flush()
                os.fsync(content.fileno())
            new.replace(file)

    def entries(self) -> list[Path]:
        """Returns the snapshots and the files of former versions, the oldest first."""
        return sorted(path for path in self.root.iterdir() if NAME.fullmatch(path.name))

    def snapshots(self) -> list[Path]:
        """Returns the snapshots, the oldest first."""
        return [path for path in self.entries() if (path / manifest.NAME).is_file()]

    def newest(self) -> str | None:
        """Returns the newest snapshot's name."""
        return max((path.name for path in self.snapshots()), default=None)

    def snapshot(self, name: str, with_dump: bool = False) -> Path:  # noqa: ARG002 - both are here
        """Returns where a snapshot's manifest, dump and users are."""
        return self.root / name

    def unfinished(self) -> list[Path]:
        """Returns the folders of snapshots that were ended half-way."""
        return sorted(path for path in self.root.glob(f"{UNFINISHED}*") if (path / manifest.NAME).is_file())

    @contextmanager
    def begin(self) -> Iterator[Path]:
        """Gives the new folder of a snapshot; of those that ended half-way, the manifests stay until one is whole."""
        for left in self.root.glob(f"{UNFINISHED}*"):
            if left.name.endswith(REMOVED) or not (left / manifest.NAME).is_file():
                remove(left)
            else:
                self._slim(left)
        new = self.root / f"{UNFINISHED}{now():mlflow-%Y%m%dT%H%M%SZ}"
        new.mkdir(mode=0o700)
        try:
            yield new
        except BaseException:
            # The disk may be full, and it may be the database's too.
            if new.is_dir():
                self._slim(new)
            raise

    def _slim(self, unfinished: Path) -> None:
        for path in unfinished.iterdir():
            if path.name != manifest.NAME:
                path.unlink()

    def finish(self, new: Path) -> Path:
        """Gives a whole snapshot its name, once everything is on the disk; what was left unfinished goes."""
        os.sync()
        snapshot = self.root / new.name.removeprefix(UNFINISHED)
        new.replace(snapshot)
        # The name as well, before older snapshots are removed.
        os.sync()
        for left in self.root.glob(f"{UNFINISHED}*"):
            remove(left)
        return snapshot

    @contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        """Sees that so many bytes can be written, and others on this disk still have room; raises BackupError."""
        disk = shutil.disk_usage(self.root)
        with self._room:
            if disk.total and disk.free - self._expected - size < min(RESERVE, disk.total // SHARE):
                raise BackupError(
                    f"the folder's disk has {disk.free:,} bytes free, of which some stay so: No space left on device"
                )
            self._expected += size
        try:
            yield
        finally:
            with self._room:
                self._expected -= size

    def path_of(self, digest: str) -> Path:
        """Returns where a content is."""
        return self.objects / digest[:2] / digest

    def holds(self, artifact: manifest.Artifact) -> bool:
        """Tells whether an artifact's content is here, by its size."""
        try:
            return bool(artifact.digest) and self.path_of(artifact.digest).stat().st_size == artifact.size
        except FileNotFoundError:
            return False

    def temporary(self, new: Path) -> IO[bytes]:
        """Returns a file beside a new snapshot for a content whose digest is not known yet."""
        return NamedTemporaryFile(dir=new, prefix="object-", delete=False)

    def keep_content(self, temporary: Path, digest: str) -> None:
        """Gives a content the name of its digest."""
        path = self.path_of(digest)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.replace(path)

    def is_intact(self, artifact: manifest.Artifact) -> bool:
        """Tells whether an artifact's content is here, and is what it was."""
        try:
            with self.path_of(artifact.digest).open("rb") as file:
                return sha256(file) == artifact.digest
        except OSError:
            return False

    @contextmanager
    def content(self, artifact: manifest.Artifact) -> Iterator[IO[bytes]]:
        """Gives an artifact's content, as a file."""
        with self.path_of(artifact.digest).open("rb") as file:
            yield file

    def prune(self, keep: int) -> Iterator[str]:
        """Removes all but the newest backups, and contents that none of those names; yields what went."""
        doomed = self.entries()[:-keep]
        for path in doomed:
            # Renamed first: half a snapshot is none.
            remove(path.rename(self.root / f"{UNFINISHED}{path.name}{REMOVED}"))
            yield path.name
        if doomed:
            named = {artifact.digest for left in self.snapshots() for artifact in manifest.read_artifacts(left)}
            for file in self.objects.glob("*/*"):
                if file.name not in named:
                    file.unlink()
