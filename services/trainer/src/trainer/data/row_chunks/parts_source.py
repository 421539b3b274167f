"""A table in several files, read in chunks one after the other."""

from __future__ import annotations

import bisect
from collections.abc import Generator, Sequence

import pyarrow as pa

from trainer.data.arrow_columns import Feature, Type
from trainer.data.buckets import Place
from trainer.data.parts import check_columns, check_type
from trainer.data.row_chunks.csv_source import CsvSource
from trainer.data.row_chunks.parquet_source import ParquetSource
from trainer.data.row_chunks.source import TableSource


class PartsSource(TableSource):
    """A table in several files, one after the other; a row that is wrong is named by its file and its place there."""

    def __init__(self, place: Place, parts: Sequence[CsvSource | ParquetSource]) -> None:
        super().__init__(place, parts[0].names)
        self._parts = parts
        self.from_text, self.form = parts[0].from_text, parts[0].form
        self.size = sum(part.size for part in parts)
        #: The first rows of the parts that were begun, and the part that is being read.
        self._starts: list[int] = [0]
        for part in parts[1:]:
            check_columns(part.path, part.names, parts[0].path, parts[0].names)

    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read part after part; columns that are copied are of one type in all of them."""
        self._starts = [0]
        schema: pa.Schema | None = None
        rows = 0
        for number, part in enumerate(self._parts):
            if number:
                self._starts.append(rows)
            for chunk in part.chunks(features, copied):
                if schema is None:
                    schema = chunk.schema
                for name in copied:
                    found, expected = chunk.schema.field(name).type, schema.field(name).type
                    check_type(part.path, name, str(found), self._parts[0].path, str(expected), from_text=False)
                # Columns are by name from here on; each part has them in its own order.
                rows += chunk.num_rows
                yield chunk

    def named(self, warnings: list[str]) -> list[str]:
        """Return the names of the columns that are data; warnings are those on the first part."""
        found = [part.named(warnings if part is self._parts[0] else []) for part in self._parts]
        return found[0]

    def _filled(self, places: Sequence[int]) -> int | None:
        """Not asked for: each part has an order of its own."""
        raise NotImplementedError

    def share(self, rows: int) -> float:
        """Return the share of the parts that were read."""
        current = len(self._starts) - 1
        done = sum(part.size for part in self._parts[:current])
        part = self._parts[current]
        return min((done + part.size * part.share(max(rows - self._starts[current], 0))) / self.size, 1.0)

    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return the types that the columns have in all parts; None of a column without a value in any."""
        found: dict[str, tuple[Place, Type]] = {}
        for part in self._parts:
            for name, kind in part.found_types(names).items():
                if kind is not None:
                    first, expected = found.setdefault(name, (part.path, kind))
                    check_type(part.path, name, kind, first, expected, from_text=self.from_text)
        return {name: found[name][1] if name in found else None for name in names}

    def place(self, row: int) -> tuple[Place, int]:
        """Return the part that a row is in, and its place there."""
        number = bisect.bisect_right(self._starts, row) - 1
        return self._parts[number].path, row - self._starts[number]

    def check_copied(self, copied: Sequence[str]) -> None:
        """Check that columns which are copied are of one type in all parts; of text they are copied as written."""
        held = [(part, part.schema) for part in self._parts if isinstance(part, ParquetSource)]
        for part, schema in held[1:]:
            for name in copied:
                found, expected = (str(one.field(name).type) for one in (schema, held[0][1]))
                check_type(part.path, name, found, held[0][0].path, expected, from_text=False)
