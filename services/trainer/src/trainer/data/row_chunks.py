"""Reads a table in chunks of bounded size: CSV, compressed or not, and Parquet; in one file or in parts."""

from __future__ import annotations

import bisect
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence, Set

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from trainer.config.csv_form import CsvForm
from trainer.data.arrow_columns import ARROW, Feature, Type, bad_value
from trainer.data.buckets import Place
from trainer.data.csv_file import csv_header
from trainer.data.file_errors import check_unique_names, reading
from trainer.data.parts import check_columns, check_type
from trainer.data.table_files import TableFiles, is_parquet, table_files
from trainer.data.uneven import uneven_row
from trainer.util.errors import InputError
from trainer.util.text import one_line

#: A chunk of text. Large enough that what each chunk costs beyond its rows does not show; small enough that a chunk for
#: each of many cores fits into memory, as numbers too.
BLOCK = 1 << 20
#: So many columns may share a block; of wider tables it is larger, so that a chunk does not hold a few rows only.
_COLUMNS, _LARGEST = 64, 16
_INDEX = re.compile(r"__index_level_\d+__")
_NO_NUMBER = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to \w+: invalid value '(.*)'")


class _PaddedGap(Exception):  # noqa: N818 - no error
    """White space, or a word with some around it, stands for a missing value in a column that is read as numbers."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class TableSource(ABC):
    """A table in a file. ``names`` are its columns, ``from_text`` says that it is a file of text."""

    from_text: bool
    #: By which the share of what was read is weighed: bytes or rows.
    size: int
    form: CsvForm = CsvForm()

    def __init__(self, path: Place, names: Sequence[str]) -> None:
        self.path = path
        self.names = list(names)

    @abstractmethod
    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read the columns of ``features`` and ``copied``, chunk by chunk; only features have types that are known."""

    @abstractmethod
    def share(self, rows: int) -> float:
        """Return how much of the file was read (0 to 1) when ``rows`` rows were."""

    @abstractmethod
    def types(self, names: Sequence[str]) -> dict[str, Type]:
        """Return types of columns that nothing is known of, decided by all rows."""

    @abstractmethod
    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return these types; None of a column without a value."""

    def place(self, row: int) -> tuple[Place, int]:
        """Return the file that a row is in, and how many of its rows come before; of those that were read so far."""
        return self.path, row


def check_source(path: Place) -> TableFiles:
    """Return the files of a table, which are there, and by their names are of a table.

    Raises:
        InputError: They are not.
    """
    files = table_files(path)
    for file in files.files:
        with reading(file), file.open("rb"):
            pass
    return files


def open_source(path: Place, form: CsvForm) -> TableSource:
    """Return the table at ``path``.

    Args:
        path: A file, a folder of parts, or a pattern.
        form: How it is written, if it is one of text.

    Raises:
        InputError: The file is not there, or holds no table.
    """
    return open_files(check_source(path), form)


def open_files(files: TableFiles, form: CsvForm, scale: int = 1) -> TableSource:
    """Return the table in files; see ``open_source``. Chunks are ``scale`` times as large as otherwise."""
    opened = [
        ParquetSource(file, form, scale) if is_parquet(file) else CsvSource(file, form, scale) for file in files.files
    ]
    return opened[0] if len(opened) == 1 else PartsSource(files.place, opened)


class CsvSource(TableSource):
    """A CSV file; what is not a feature is read as the text that it is."""

    from_text = True

    def __init__(self, path: Place, form: CsvForm, scale: int = 1) -> None:
        super().__init__(path, csv_header(path, form))
        self.form = form
        self.size = max(path.stat().st_size, 1)
        self._read = 0.0
        self._block = scale * BLOCK * min(max(len(self.names) // _COLUMNS, 1), _LARGEST)

    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read the file; a column of numbers in which white space stands for a missing value is read as texts."""
        texts, done = set(copied), 0
        while True:
            try:
                for place, chunk in enumerate(self._parsed(features, copied, texts)):
                    # Of the same sizes each time.
                    if place >= done:
                        done += 1
                        yield chunk
                return
            except _PaddedGap as gap:
                texts.add(gap.column)

    def _parsed(
        self, features: Sequence[Feature], copied: Sequence[str], texts: Set[str]
    ) -> Generator[pa.RecordBatch, None, None]:
        """Read the file with one thread: only so do errors say in which row they are."""
        types = {name: pa.string() for name in copied}
        for feature in features:
            # Other types, and what is also copied as it is written, are parsed afterwards.
            direct = feature.type == "number" and feature.name not in texts
            types[feature.name] = ARROW[feature.type] if direct else pa.string()
        by_name = {feature.name: feature for feature in features}
        with reading(self.path), self.path.open("rb") as file:
            stream = pa.CompressedInputStream(file, "gzip") if self.path.name.lower().endswith(".gz") else file
            try:
                reader = csv.open_csv(
                    stream,
                    read_options=csv.ReadOptions(
                        block_size=self._block,
                        use_threads=False,
                        skip_rows=self.form.skip_lines,
                        column_names=None if self.form.header else self.names,
                    ),
                    parse_options=csv.ParseOptions(
                        delimiter=self.form.separator_of(self.path), newlines_in_values=True
                    ),
                    convert_options=csv.ConvertOptions(
                        column_types=types,
                        include_columns=list(types),
                        null_values=self.form.gaps,
                        decimal_point=self.form.decimal,
                        strings_can_be_null=False,
                    ),
                )
                for chunk in reader:
                    # What is read ahead counts as read: near enough for a progress bar.
                    self._read = file.tell() / self.size
                    if chunk.num_rows:
                        yield chunk
            except pa.ArrowInvalid as error:
                # A header without a line's end is no rows; the header itself was read before.
                if "Empty CSV file" not in str(error):
                    self._check_gap(error, texts)
                    raise self._explained(error, by_name) from None

    def _check_gap(self, error: pa.ArrowInvalid, texts: Set[str]) -> None:
        """Raise a sign where what is no number is a missing value with white space around it."""
        if (match := _NO_NUMBER.match(one_line(error))) is not None:
            name = self.names[int(match[1])]
            if name not in texts and match[3].strip() in self.form.gaps:
                raise _PaddedGap(name) from None

    def share(self, rows: int) -> float:
        """Return the share of the file's bytes."""
        del rows
        return min(self._read, 1.0)

    def types(self, names: Sequence[str]) -> dict[str, Type]:
        """Return boolean or number where all values of a column are, and else text: a pass over the whole file."""
        return {name: kind or "number" for name, kind in self.found_types(names).items()}

    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return these types; None of a column without a value."""
        from trainer.data.arrow_columns import convert

        left: dict[str, list[Type]] = {name: ["boolean", "number", "text"] for name in names}
        seen = dict.fromkeys(names, False)
        for chunk in self.chunks([Feature(name, "text") for name in names], ()):
            for name, possible in left.items():
                column = chunk.column(name)
                while True:
                    try:
                        values = convert(column, Feature(name, possible[0]), 0, "", from_text=True, form=self.form)
                    except InputError:
                        possible.pop(0)
                    else:
                        seen[name] |= values.null_count < len(values)
                        break
        return {name: possible[0] if seen[name] else None for name, possible in left.items()}

    def _explained(self, error: pa.ArrowInvalid, features: Mapping[str, Feature]) -> InputError:
        """Return pyarrow's message in terms of the table: rows counted without the header, columns by name."""
        text = one_line(error)
        if match := _NO_NUMBER.match(text):
            name, number = self.names[int(match[1])], self._row(match[2])
            if (feature := features.get(name)) is not None:
                place = f"{self.path}: row {number:,}, column {name!r}"
                return bad_value(place, match[3], feature, self.form, first_row=number == 1)
        if match := re.match(r"In CSV column #(\d+): (?:Row #(\d+): )?.*invalid UTF8", text):
            row = f"row {self._row(match[2]):,}, " if match[2] else ""
            return InputError(f"{self.path}: {row}column {self.names[int(match[1])]!r}: is not UTF-8 text")
        if match := re.match(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)", text):
            separator = self.form.separator_of(self.path)
            fields, width = int(match[3]), int(match[2])
            wrong = uneven_row(self._row(match[1]), fields, width, separator=separator, header=self.form.header)
            return InputError(f"{self.path}: {wrong}")
        if "straddling" in text:
            return InputError(f"{self.path}: a row is longer than {self._block >> 20} MiB; is a quote left open?")
        return InputError(f"{self.path}: cannot be read as comma-separated text: {one_line(text, 200)}")

    def _row(self, counted: str) -> int:
        """Return the number of a row, counted without what is above the first one."""
        return int(counted) - self.form.skip_lines - self.form.header


class ParquetSource(TableSource):
    """A Parquet file."""

    from_text = False

    def __init__(self, path: Place, form: CsvForm, scale: int = 1) -> None:
        self._most = scale * 4 * BLOCK
        with reading(path):
            if path.stat().st_size == 0:
                raise InputError(f"{path}: is empty")
            with path.open("rb") as stream, parquet.ParquetFile(stream) as file:
                self._schema = file.schema_arrow
                self._rows = file.metadata.num_rows
                self.size = max(self._rows, 1)
            names = [name for name in self._schema.names if not _INDEX.fullmatch(name)]
            check_unique_names(path, names)
        if not names:
            raise InputError(f"{path}: has no columns")
        super().__init__(path, names)
        # Of a typed file, what stands for a missing value in its texts.
        self.form = form

    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read the file page by page; a row group may be larger than the memory."""
        names = list(dict.fromkeys([*copied, *(feature.name for feature in features)]))
        rows = max(1_024, min(65_536, self._most // (8 * max(len(names), 1))))
        with (
            reading(self.path),
            self.path.open("rb") as stream,
            parquet.ParquetFile(stream, buffer_size=BLOCK // 4, pre_buffer=False) as file,
        ):
            try:
                for chunk in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                    if chunk.num_rows:
                        yield chunk
            except pa.ArrowNotImplementedError as error:
                raise InputError(f"{self.path}: cannot be read: {one_line(error, 200)}") from None

    def share(self, rows: int) -> float:
        """Return the share of the file's rows."""
        return rows / max(int(self._rows), 1)

    def types(self, names: Sequence[str]) -> dict[str, Type]:
        """Return what the file's own types amount to."""
        return {name: kind or "number" for name, kind in self.found_types(names).items()}

    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return these types; None of a column without a type."""
        found: dict[str, Type | None] = {}
        for name in names:
            held = self._schema.field(name).type
            held = held.value_type if pa.types.is_dictionary(held) else held
            if pa.types.is_null(held):
                found[name] = None
            elif pa.types.is_boolean(held):
                found[name] = "boolean"
            elif pa.types.is_timestamp(held) or pa.types.is_date(held):
                found[name] = "datetime"
            elif pa.types.is_string(held) or pa.types.is_large_string(held):
                found[name] = "text"
            else:
                found[name] = "number"
        return found


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

    def share(self, rows: int) -> float:
        """Return the share of the parts that were read."""
        current = len(self._starts) - 1
        done = sum(part.size for part in self._parts[:current])
        part = self._parts[current]
        return min((done + part.size * part.share(max(rows - self._starts[current], 0))) / self.size, 1.0)

    def types(self, names: Sequence[str]) -> dict[str, Type]:
        """Return the types that the columns have in all parts."""
        return {name: kind or "number" for name, kind in self.found_types(names).items()}

    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return these types; None of a column without a value."""
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
