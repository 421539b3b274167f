"""What a snapshot holds: a header, a line for each artifact, and a last line that says that the list is whole.

JSON lines, compressed: a stack of some years has hundreds of thousands of artifacts, of which one is in memory at a
time.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replica_server.backups.errors import BackupError

FORMAT = 1
NAME = "manifest.jsonl.gz"
# Artifacts, and their bytes, that are in memory until they are written: so many are copied again when one is killed.
LINES, BYTES = 500, 256 * 2**20


@dataclass(frozen=True)
class Header:
    """What is said of the whole.

    Attributes:
        format: The manifest's own version.
        stack: The id of the stack that was backed up.
        version: The version of the stack's files.
        schema: The revision of the database's schema.
        created: When the database was dumped (UTC).
        storage: Where the artifacts were.
        copied: Whether the artifacts' contents are in the backup, and not only in the bucket.
        database: The SHA-256 of the database's dump.
        database_size: Its bytes.
        users: The SHA-256 of the proxy's users; empty where the backup has none.
    """

    format: int
    stack: str
    version: str
    schema: str
    created: str
    storage: str
    copied: bool
    database: str
    database_size: int
    users: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact of the snapshot.

    Attributes:
        name: Its name below the storage's address.
        size: Its bytes.
        tag: What the storage calls this content: the ETag (S3), the generation (Cloud Storage).
        digest: The SHA-256 of its content; empty where the content stays in the bucket.
    """

    name: str
    size: int
    tag: str
    digest: str


class Writer:
    """Writes a manifest, which is whole once it is closed.

    Args:
        file: Where to.
        header: What its first line says.
    """

    def __init__(self, file: Path, header: Header) -> None:
        self._path = file
        self._lines: list[str] = []
        self.count = 0
        self.size = 0
        self._written = 0
        self._line(asdict(header))

    def _line(self, content: dict[str, Any]) -> None:
        self._lines.append(json.dumps(content, ensure_ascii=False) + "\n")
        if len(self._lines) >= LINES or self.size - self._written >= BYTES:
            self._write()

    def _write(self) -> None:
        # Each block is compressed by itself, and the file holds one after the other, as gzip allows.
        with self._path.open("ab") as file:
            file.write(gzip.compress("".join(self._lines).encode(), compresslevel=6))
        self._lines.clear()
        self._written = self.size

    def add(self, artifact: Artifact) -> None:
        """Writes an artifact's line."""
        self.count += 1
        self.size += artifact.size
        self._line(asdict(artifact))

    def close(self) -> None:
        """Writes the last line, without which the manifest is not whole."""
        self._line({"artifacts": self.count, "bytes": self.size})
        self._write()


def _lines(snapshot: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(snapshot / NAME, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except FileNotFoundError as error:
        raise BackupError(f"{snapshot.name} has no manifest: it is no backup") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise BackupError(f"the manifest of {snapshot.name} is damaged or cut off") from error


def read_header(snapshot: Path) -> Header:
    """Returns what a snapshot's manifest says of the whole; raises BackupError when it cannot be read."""
    try:
        first = next(_lines(snapshot))
        if first["format"] != FORMAT:
            raise BackupError(
                f"{snapshot.name} was written by another version of this stack (format {first['format']})"
            )
        return Header(**first)
    except (StopIteration, KeyError, TypeError) as error:
        raise BackupError(f"the manifest of {snapshot.name} is damaged or cut off") from error


def read_artifacts(snapshot: Path) -> Iterator[Artifact]:
    """Yields a snapshot's artifacts; raises BackupError, at the end, when the list is not whole."""
    lines = _lines(snapshot)
    next(lines, None)
    count = size = 0
    for line in lines:
        if "artifacts" in line:
            if (line["artifacts"], line.get("bytes")) == (count, size):
                return
            break
        try:
            artifact = Artifact(**line)
        except TypeError:
            break
        yield artifact
        count, size = count + 1, size + artifact.size
    raise BackupError(f"the manifest of {snapshot.name} is damaged or cut off")
