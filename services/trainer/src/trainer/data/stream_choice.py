"""Whether a table is held in memory or read in passes: by its size and the memory that there is, or as asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trainer.config.stream import Stream
from trainer.data.buckets import Place
from trainer.data.file_errors import reading
from trainer.data.table_files import TableFiles, is_parquet
from trainer.util.output import print_message

#: A table in memory takes so many times 8 bytes a value, while it is read, encoded and fitted.
_COPIES = 6
#: And so many times the bytes of a CSV file; a compressed one is so many times larger.
_OF_TEXT, _UNPACKED = 8, 5
#: Where a container's limit is: cgroups of version 2 and 1.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def why_streamed(tables: Sequence[TableFiles], stream: Stream) -> str | None:
    """Return the line that says why the tables of a data set are read in passes; None where memory holds them."""
    if stream == "never":
        return None
    places = " and ".join(str(table.place) for table in tables)
    are, they, them = ("is", "it", "it") if len(tables) == 1 else ("are", "they", "them")
    if stream == "always":
        return f"{places}: {are} read in passes, and not held in memory (--stream always)"
    needed, there = sum(_needed(file) for table in tables for file in table.files), memory()
    if needed <= there:
        return None
    return (
        f"{places}: {are} read in passes: {they} would take about {needed / 2**30:.1f} GiB of memory, and there are"
        f" {there / 2**30:.1f} (--stream never holds {them})"
    )


def tell_if_too_large(files: TableFiles) -> None:
    """Say of a table that is held in memory, whatever it takes, that it may not fit: before it is read."""
    needed, there = sum(map(_needed, files.files)), memory()
    if needed > there:
        print_message(
            f"{files.place}: would take about {needed / 2**30:.1f} GiB of memory, and there are {there / 2**30:.1f}: it"
            " is held all the same, and may not fit. --stream auto reads it in passes, where LightGBM alone is fitted"
        )


def memory() -> int:
    """Return the bytes of memory that this process may take: the container's limit, or the machine's memory."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _LIMITS:
        # Without a limit, the file says "max".
        with suppress(OSError, ValueError):
            found.append(int(Path(limit).read_text(encoding="ascii")))
    return min(found)


def _needed(file: Place) -> int:
    """Return how many bytes a file's table takes in memory, roughly."""
    with reading(file):
        size = int(file.stat().st_size)
        if not is_parquet(file) or not size:
            unpacked = _UNPACKED if file.name.lower().endswith(".gz") else 1
            return size * unpacked * _OF_TEXT
        import pyarrow.parquet

        with file.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as table:
            return int(table.metadata.num_rows) * int(table.metadata.num_columns) * 8 * _COPIES
