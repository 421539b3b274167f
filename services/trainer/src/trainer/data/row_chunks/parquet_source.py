"""A Parquet file, read in chunks."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from trainer.config.csv_form import CsvForm
from trainer.data.arrow_columns import Feature, Type
from trainer.data.buckets import Place
from trainer.data.file_errors import check_unique_names, reading
from trainer.data.row_chunks import size
from trainer.data.row_chunks.source import TableSource
from trainer.data.table_reader import index_warning
from trainer.util.errors import InputError
from trainer.util.text import one_line

_INDEX = re.compile(r"__index_level_\d+__")


class ParquetSource(TableSource):
    """A Parquet file."""

    from_text = False

    def __init__(self, path: Place, form: CsvForm, scale: int = 1) -> None:
        self._scale = scale
        with reading(path):
            if path.stat().st_size == 0:
                raise InputError(f"{path}: is empty")
            with path.open("rb") as stream, parquet.ParquetFile(stream) as file:
                self.schema = file.schema_arrow
                self.rows = file.metadata.num_rows
                self.size = max(self.rows, 1)
            written = (self.schema.pandas_metadata or {}).get("index_columns", [])
            #: The columns that pandas wrote as an index; those that it named itself are none to anybody.
            self._index = [name for name in self.schema.names if name in written]
            names = [name for name in self.schema.names if not (name in written and _INDEX.fullmatch(name))]
            check_unique_names(path, names)
        if not names:
            raise InputError(f"{path}: has no columns")
        super().__init__(path, names)
        # Of a typed file, what stands for a missing value in its texts.
        self.form = form

    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read the file page by page; a row group may be larger than the memory."""
        names = list(dict.fromkeys([*copied, *(feature.name for feature in features)]))
        rows = size.rows(len(names), self._scale)
        with (
            reading(self.path),
            self.path.open("rb") as stream,
            parquet.ParquetFile(stream, buffer_size=size.BLOCK // 4, pre_buffer=False) as file,
        ):
            try:
                for chunk in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                    if chunk.num_rows:
                        yield chunk
            except pa.ArrowNotImplementedError as error:
                raise InputError(f"{self.path}: cannot be read: {one_line(error, 200)}") from None

    def named(self, warnings: list[str]) -> list[str]:
        """Return the names of the columns that are data, without the index that pandas wrote."""
        if index := [name for name in self.names if name in self._index]:
            warnings.append(index_warning(self.path, index))
        return [name for name in super().named(warnings) if name not in index]

    def _filled(self, places: Sequence[int]) -> int | None:
        left = {self.names[place]: place for place in places}
        for chunk in self.chunks((), list(left)):
            for name, place in left.items():
                if pc.any(pc.is_valid(chunk.column(name))).as_py():
                    return place
        return None

    def share(self, rows: int) -> float:
        """Return the share of the file's rows."""
        return rows / max(int(self.rows), 1)

    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return what the file's own types amount to; None of a column without a type."""
        found: dict[str, Type | None] = {}
        for name in names:
            held = self.schema.field(name).type
            held = held.value_type if pa.types.is_dictionary(held) else held
            if pa.types.is_null(held):
                found[name] = None
            elif pa.types.is_boolean(held):
                found[name] = "boolean"
            elif pa.types.is_timestamp(held) or pa.types.is_date(held):
                found[name] = "datetime"
            elif pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held):
                found[name] = "text"
            else:
                found[name] = "number"
        return found
