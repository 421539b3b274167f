"""The part files that a command writes: each appears when it is whole, and one that was written before is known again.

A file in the folder, ``_scored.json``, says of what each part was made. So the same command goes on where an earlier
one ended, and scores anew what was made by another model, of another file, or with other options.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

from trainer.data.buckets import BucketPath, Place
from trainer.data.table_files import TableFiles, file_digest, is_table
from trainer.scoring.part_tasks import PartResult, PartTask, Piece
from trainer.scoring.predict import PredictResult
from trainer.util.atomic import atomic_file
from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line

RECORD = "_scored.json"


def part_names(files: TableFiles) -> dict[str, Place]:
    """Return the names of the part files, each with the file that it is made of: as that one, but CSV for TSV.

    Raises:
        InputError: Two files would have the same part.
    """
    parts: dict[str, Place] = {}
    for file in files.files:
        name, dot, gz = file.name, "", ""
        if name.lower().endswith(".gz"):
            name, dot, gz = name.rpartition(".")
        if name.lower().endswith(".tsv"):
            name = f"{name[:-4]}.csv"
        name = f"{name}{dot}{gz}"
        if name in parts:
            raise InputError(
                f"{files.place}: {parts[name]} and {file} would both be scored into {name}; name one folder"
            )
        parts[name] = file
    return parts


def check_folder(folder: Path, parts: Mapping[str, Place]) -> None:
    """Check that part files can be written to a folder, and that it will then hold one table: theirs.

    Raises:
        InputError: They cannot, or another table's files are there.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is no folder; make it first, and each file is scored into a part file of its own in it (--out)"
        )
    for name, file in parts.items():
        path = folder / name
        if not isinstance(file, BucketPath) and path.exists() and path.samefile(file):
            raise InputError(f"{path}: is the data itself; write to another folder (--out)")
    others = [path.name for path in sorted(folder.iterdir()) if is_table(path) and path.name not in parts]
    if others:
        raise InputError(f"{folder}: holds {others[0]}, which is none of these parts; write to an empty folder (--out)")


class _OpenPart:
    """A part file that is being written."""

    def __init__(self, path: Path, attempt: int) -> None:
        self.attempt, self._path = attempt, path
        self._file: AbstractContextManager[BinaryIO] = atomic_file(path, "--out")
        self._stream = self._file.__enter__()
        self._digest, self._size = hashlib.sha256(), 0

    def write(self, content: bytes) -> None:
        try:
            self._stream.write(content)
        except OSError as error:
            raise TrainerError(f"{self._path}: cannot be written: {error.strerror or one_line(error)}") from error
        self._digest.update(content)
        self._size += len(content)

    def keep(self, size: int) -> str:
        """Give the file its name; return its digest."""
        if self._size != size:
            raise TrainerError(f"{self._path}: {self._size:,} of its {size:,} bytes have come")
        self._file.__exit__(None, None, None)
        return self._digest.hexdigest()

    def drop(self) -> None:
        given_up = TrainerError("given up")
        self._file.__exit__(TrainerError, given_up, None)


class PartFolder:
    """The folder that part files are written to. Whoever leaves it drops the parts that are not whole.

    Args:
        folder: The folder, which is there.
        made_by: A digest of all that a part depends on beside its file.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        self._folder, self._made_by = folder, made_by
        self._open: dict[int, _OpenPart] = {}
        self._record: dict[str, dict[str, Any]] = {}
        # Whatever else it holds, all is scored anew.
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            self._record = {name: entry for name, entry in found.items() if entry["made_by"] == made_by}

    def __enter__(self) -> PartFolder:
        return self

    def __exit__(self, *error: object) -> None:
        for index in list(self._open):
            self.drop(index)

    def finished(self, task: PartTask) -> PredictResult | None:
        """Return the result of a part that was made of the same file before, and is there unchanged."""
        entry = self._record.get(task.name)
        if entry is None or task.digest is None:
            return None
        try:
            if entry["of"] != task.digest or entry["sha256"] != file_digest(self._folder / task.name):
                return None
            result = PredictResult(**entry["result"])
            return replace(result, out=Path(task.name), columns=tuple(result.columns), warnings=tuple(result.warnings))
        except (OSError, TypeError, KeyError):
            return None

    def begin(self, task: PartTask) -> PartTask:
        """Open a part, whose pieces come next; return the task."""
        self._open[task.index] = _OpenPart(self._folder / task.name, task.attempt)
        return task

    def begin_again(self, task: PartTask, _reason: str) -> PartTask:
        """Drop a part whose worker was lost, and open it anew."""
        self.drop(task.index)
        return self.begin(task.again())

    def take(self, piece: Piece) -> None:
        """Write a piece.

        Raises:
            TrainerError: The disk is full, or the part is being scored by another worker by now.
        """
        part = self._open.get(piece.index)
        if part is None or part.attempt != piece.attempt:
            raise TrainerError("another worker scores this file by now")
        part.write(piece.content)

    def keep(self, task: PartTask, part: PartResult) -> None:
        """Let a part appear under its name; of a file without rows there is none, and no older one.

        Raises:
            TrainerError: It cannot be written.
        """
        if part.result is None:
            self.drop(task.index)
            (self._folder / task.name).unlink(missing_ok=True)
            return
        digest = self._open.pop(task.index).keep(part.size)
        result = asdict(part.result) | {"out": task.name}
        self._record[task.name] = {"made_by": self._made_by, "of": task.digest, "sha256": digest, "result": result}
        with atomic_file(self._folder / RECORD, "--out") as stream:
            stream.write(json.dumps(self._record, indent=1, default=str).encode())

    def drop(self, index: int) -> None:
        """Let a part that is not whole go."""
        part = self._open.pop(index, None)
        if part is not None:
            part.drop()
