"""Which files a table is made of: one file, the parts in a folder, or what a pattern such as ``june/*.csv`` finds."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainer.data.buckets import BucketPath, Place
from trainer.data.file_errors import readable
from trainer.util.errors import InputError
from trainer.util.text import listed, nearest, quoted

PARQUET_SUFFIXES = (".parquet", ".pq")
#: How alike the names of two files must be for one to be suggested for the other: of june.csv, july.csv is no help.
_ALIKE = 0.78
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", *PARQUET_SUFFIXES)


@dataclass(frozen=True)
class TableFiles:
    """The files of one table, in the order of its rows; ``place`` is what names them: a file, a folder, a pattern."""

    place: Place
    files: tuple[Place, ...]

    @property
    def name(self) -> str:
        """What the table is called: as its file or folder, or as the folder that a pattern begins with."""
        plain = self.place
        while is_pattern(plain):
            plain = plain.parent
        return plain.resolve().name.split(".")[0] or "data"

    @property
    def from_text(self) -> bool:
        """Whether the files are of text (CSV)."""
        return not is_parquet(self.files[0])

    @property
    def note(self) -> str | None:
        """A line that says which files are read as one table; None for a single file."""
        if len(self.files) == 1:
            return None
        first, last = self.files[0].name, self.files[-1].name
        return f"{self.place}: {len(self.files):,} files are read as one table, from {first} to {last}"


def is_table(path: Place) -> bool:
    """Tell whether a file is one of a table, by its name."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


def is_parquet(path: Place) -> bool:
    """Tell whether a file is a Parquet file, by its name."""
    return path.name.lower().endswith(PARQUET_SUFFIXES)


def is_pattern(path: Place) -> bool:
    """Tell whether a path is a pattern (``*``, ``?``, ``[…]``), and not the name of something that is there."""
    if isinstance(path, BucketPath):
        return glob.has_magic(path.key)
    return glob.has_magic(str(path)) and not path.exists()


def table_files(path: Place, option: str = "--data") -> TableFiles:
    """Return the files of the table that a path names; parts in the order of their names.

    Raises:
        InputError: There is no table, or files of several kinds are there.
    """
    with readable(path):
        if is_pattern(path):
            return TableFiles(path, _found(path, option))
        if path.is_dir():
            return TableFiles(path, folder_parts(path, (entry for entry in path.iterdir() if entry.is_file()), option))
        if not path.exists():
            raise no_such_table(path, option)
    if not is_table(path):
        raise InputError(f"{path}: unknown kind of file; expected one of {', '.join(TABLE_SUFFIXES)} ({option})")
    return TableFiles(path, (path,))


def no_such_table(path: Place, option: str = "--data") -> InputError:
    """Return the error for a path that leads to nothing; it names what is called almost so beside it."""
    hint = ""
    if not isinstance(path, BucketPath):
        with suppress(OSError):
            beside = [one.name for one in path.parent.iterdir() if one.is_dir() or is_table(one)]
            if (meant := nearest(path.name, beside, cutoff=_ALIKE)) is not None:
                hint = f"; did you mean {quoted(str(path.with_name(meant)))}?"
    return InputError(f"{path}: no such file or folder{hint} ({option})")


def folder_parts(path: Place, files: Iterable[Place], option: str = "--data") -> tuple[Place, ...]:
    """Return a folder's files that are parts of its table, by name; other files may lie beside them."""
    parts = sorted((file for file in files if is_table(file) and not _is_marker(file)), key=str)
    if not parts:
        raise InputError(f"{path}: holds no table; expected files of {', '.join(TABLE_SUFFIXES)} ({option})")
    _check_kinds(path, parts, option)
    return tuple(parts)


def _found(path: Place, option: str) -> tuple[Place, ...]:
    found: list[Place]
    if isinstance(path, BucketPath):
        found = list(path.glob())
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - it may be absolute
    files = sorted((file for file in found if file.is_file() and not _is_marker(file)), key=str)
    if not files:
        what = f"finds folders only, such as {found[0].name}; add /*" if found else "finds no file"
        raise InputError(f"{path}: {what} ({option})")
    if unknown := [file for file in files if not is_table(file)]:
        raise InputError(
            f"{path}: finds {unknown[0].name}, an unknown kind of file; expected {', '.join(TABLE_SUFFIXES)} ({option})"
        )
    _check_kinds(path, files, option)
    return tuple(files)


def _is_marker(path: Place) -> bool:
    """Tell whether a file is what other programs leave beside their parts, such as _SUCCESS."""
    return path.name.startswith(("_", "."))


def _check_kinds(path: Place, files: Sequence[Place], option: str) -> None:
    first: dict[str, str] = {}
    for file in files:
        first.setdefault(_kind(file), file.name)
    if len(first) > 1:
        found = listed(f"{name} is {kind}" for kind, name in first.items())
        raise InputError(
            f"{path}: its {len(files):,} tables are of several kinds ({found}); name one file, or the parts by a"
            f" pattern ({option})"
        )


def _kind(path: Place) -> str:
    name = path.name.lower()
    return "Parquet" if is_parquet(path) else "TSV" if ".tsv" in name else "CSV"


def file_digest(file: Place) -> str | None:
    """Return a file's SHA-256 digest (64 hexadecimal digits); None in a bucket, where all read the same object."""
    if isinstance(file, BucketPath):
        return None
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
