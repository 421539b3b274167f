"""Opens CSV files as text, compressed or not."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any, BinaryIO

from trainer.config.csv_form import CsvForm
from trainer.data.buckets import Place

_USUAL = CsvForm()
#: The longest field (letters). Python's own bound is 131,072, which texts exceed; pandas and pyarrow have none.
_LONGEST_FIELD = 2**31 - 1


def open_text(path: Place, form: CsvForm = _USUAL) -> io.TextIOBase:
    """Return a CSV file as a stream of text, from its header on, or from its first row."""
    csv.field_size_limit(_LONGEST_FIELD)
    opened: Any = path.open("rb")
    if path.name.lower().endswith(".gz"):
        opened = _Unpacked(opened)
    stream = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    for _ in range(form.skip_lines):
        stream.readline()
    return stream


class _Unpacked(gzip.GzipFile):
    """A compressed file, which closes what it reads from."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()
