"""A folder of backups: a subfolder for each snapshot, and beside them the artifacts, each content once.

    stack.json                                  whose backups these are
    mlflow-20261129T030000Z/manifest.jsonl.gz   what the snapshot holds
    mlflow-20261129T030000Z/database.dump
    objects/ab/abcd…                            an artifact's content, named by its SHA-256

A snapshot is made under another name and renamed at its end, so one with its name is whole. Contents never change:
the next snapshot adds what is new, and whatever ends one half-way leaves contents that the next one finds.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, BinaryIO, Protocol

from replica_server.backups import manifest
from replica_server.backups.errors import BackupError

DUMP = "database.dump"
BLOCK = 2**20
# A snapshot's folder, or the file of a database alone that an earlier version wrote.
NAME = re.compile(r"mlflow-[0-9]{8}T[0-9]{6}Z(\.dump)?")
UNFINISHED = ".new-"


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

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"

    def claim(self, stack: str) -> None:
        """Makes this the folder of a stack's backups; raises BackupError when it is another's."""
        file = self.root / "stack.json"
        try:
            owner = json.loads(file.read_text())["stack"]
        except FileNotFoundError:
            new = file.with_suffix(".new")
            new.write_text(json.dumps({"stack": stack}) + "\n")
            new.replace(file)
            return
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError("stack.json in the folder is damaged: it does not say whose backups these are") from error
        if owner != stack:
            raise BackupError("the folder holds the backups of another stack: name another folder")

    def entries(self) -> list[Path]:
        """Returns the snapshots and the files of former versions, the oldest first."""
        return sorted(path for path in self.root.iterdir() if NAME.fullmatch(path.name))

    def snapshots(self) -> list[Path]:
        """Returns the snapshots, the oldest first."""
        return [path for path in self.entries() if (path / manifest.NAME).is_file()]

    def begin(self) -> Path:
        """Returns the new folder of a snapshot; what earlier ones have left unfinished goes."""
        for left in self.root.glob(f"{UNFINISHED}*"):
            remove(left)
        new = self.root / f"{UNFINISHED}{now():mlflow-%Y%m%dT%H%M%SZ}"
        new.mkdir(mode=0o700)
        return new

    def finish(self, new: Path) -> Path:
        """Gives a whole snapshot its name, once everything is on the disk."""
        os.sync()
        snapshot = self.root / new.name.removeprefix(UNFINISHED)
        new.replace(snapshot)
        return snapshot

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

    def prune(self, keep: int) -> Iterator[str]:
        """Removes all but the newest backups, and contents that none of those names; yields what went."""
        doomed = self.entries()[:-keep]
        for path in doomed:
            # Renamed first: half a snapshot is none.
            remove(path.rename(self.root / f"{UNFINISHED}{path.name}-removed"))
            yield path.name
        if doomed:
            named = {artifact.digest for left in self.snapshots() for artifact in manifest.read_artifacts(left)}
            for file in self.objects.glob("*/*"):
                if file.name not in named:
                    file.unlink()
