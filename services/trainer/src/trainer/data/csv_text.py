"""Opens CSV files, compressed or not: as text, or as bytes among which is no NUL."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from typing import Any, BinaryIO

from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place

_USUAL = CsvForm()
#: The longest field (letters). Python's own bound is 131,072, which texts exceed; pandas and pyarrow have none.
_LONGEST_FIELD = 2**31 - 1


def open_text(path: Place, form: CsvForm = _USUAL) -> io.TextIOBase:
    """Return a CSV file as a stream of text, from its header on, or from its first row."""
    csv.field_size_limit(_LONGEST_FIELD)
    stream = io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="")
    for _ in range(form.skip_lines):
        stream.readline()
    return stream


def open_bytes(path: Place) -> Any:
    """Return a CSV file as a stream of bytes, unpacked."""
    opened: Any = path.open("rb")
    return _Unpacked(opened) if path.name.lower().endswith(".gz") else opened


class WithoutNul(io.BufferedIOBase):
    """A stream of bytes in which a NUL is an error: readers of CSV files take one for a letter, and say nothing.

    Once all is read, ``escapes`` tells whether a quote follows a backslash anywhere, which they may misread as well.
    """

    def __init__(self, stream: Any, refusal: Callable[[], Exception]) -> None:
        """Read from ``stream``, and raise what ``refusal`` returns once a NUL is read."""
        self._stream, self._refusal = stream, refusal
        self.escapes, self._before = False, b""

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, or fewer at the end."""
        found: bytes = self._stream.read(size)
        if b"\0" in found:
            raise self._refusal()
        self.escapes = self.escapes or b'\\"' in found or (self._before == b"\\" and found.startswith(b'"'))
        self._before = found[-1:]
        return found

    read1 = read


class _Unpacked(gzip.GzipFile):
    """A compressed file, which closes what it reads from."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()
