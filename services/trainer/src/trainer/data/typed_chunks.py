"""Reads a table in passes, chunk after chunk, with each column converted to its type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trainer.config.csv_form import CsvForm
from trainer.config.values import ColumnType
from trainer.data.arrow_columns import Feature, convert, number_words, to_pandas
from trainer.data.columns import no_feature
from trainer.data.missing_words import MissingWords
from trainer.data.row_chunks.opening import count_rows, open_files
from trainer.data.row_chunks.source import TableSource
from trainer.data.table_files import TableFiles
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Chunks are larger than those that are scored side by side.
_SCALE = 4
#: A chunk's columns in their types, by name.
Columns = Mapping[str, pa.Array]


@dataclass(frozen=True)
class TypedChunks:
    """A table on disk or in a bucket, and the types of its features. Plain data: it travels to other processes."""

    files: TableFiles
    form: CsvForm
    types: Mapping[str, ColumnType]

    @property
    def features(self) -> list[Feature]:
        """The features to read."""
        return [Feature(name, kind) for name, kind in self.types.items()]

    def chunks(self, words: MissingWords | None = None) -> Iterator[tuple[int, int, Columns]]:
        """Yield the chunks of one pass: how many rows come before, how many it has, and its columns.

        Args:
            words: Counts the words for missing values, if given.
        """
        source = open_files(self.files, self.form, _SCALE)
        read = [feature for feature in self.features if feature.type != "unknown"]
        row = 0
        for chunk in source.chunks(read, ()):
            place, before = source.place(row)
            if words is not None:
                words.add(place, chunk)
            columns = {
                feature.name: pa.nulls(chunk.num_rows, pa.string())
                if feature.type == "unknown"
                else convert(
                    chunk.column(feature.name),
                    feature,
                    before,
                    str(place),
                    from_text=source.from_text,
                    form=source.form,
                )
                for feature in self.features
            }
            yield row, chunk.num_rows, columns
            row += chunk.num_rows

    def spanning(self, chosen: NDArray[np.bool_]) -> tuple[TypedChunks, int, int]:
        """Return the table in those of its files that hold chosen rows, and which rows of this one it has.

        Args:
            chosen: Which of all rows are chosen; at least one is.
        """
        starts = [*self.starts, len(chosen)]
        rows = np.flatnonzero(chosen)
        first = int(np.searchsorted(starts, rows[0], side="right")) - 1
        last = int(np.searchsorted(starts, rows[-1], side="right"))
        files = replace(self.files, files=self.files.files[first:last])
        return replace(self, files=files), starts[first], starts[last]

    @cached_property
    def starts(self) -> list[int]:
        """How many rows come before each file: a pass over files of text."""
        if len(self.files.files) == 1:
            return [0]
        counts = [count_rows(file, self.form) for file in self.files.files]
        return [0, *np.cumsum(counts[:-1]).tolist()]


def selected(columns: Columns, rows: NDArray[np.bool_]) -> Columns:
    """Return the rows of a chunk that are to be taken."""
    if rows.all():
        return columns
    wanted = pa.array(rows)
    return {name: column.filter(wanted) for name, column in columns.items()}


def to_frame(columns: Columns, features: Sequence[Feature]) -> pd.DataFrame:
    """Return a chunk as the pandas table that models are trained on."""
    return pd.DataFrame({feature.name: to_pandas(columns[feature.name], feature) for feature in features})


def found_types(source: TableSource, names: Sequence[str], texts: Sequence[str]) -> dict[str, ColumnType]:
    """Return the types of features, decided by all rows; those in ``texts`` are text, whatever they hold.

    Raises:
        InputError: A column holds what is neither a number, nor true or false, nor text.
    """
    found = source.found_types([name for name in names if name not in texts])
    empty, odd = _empty_and_odd(source, [*found, *texts])
    for name, held in odd.items():
        raise no_feature(f"{source.path}: column {name!r}", held)
    types: dict[str, ColumnType] = {}
    for name in names:
        kind: Any = "text" if name in texts else found[name]
        types[name] = "unknown" if name in empty or kind is None else kind
    return types


def _empty_and_odd(source: TableSource, names: Sequence[str]) -> tuple[set[str], dict[str, str]]:
    """Return the columns in which no row has a value, and those with values of a type that no model takes.

    The first rows show nearly all of them.
    """
    empty, odd = set(names), dict[str, str]()
    for chunk in source.chunks([Feature(name, "text") for name in names], ()):
        for name in sorted(empty):
            column = chunk.column(name)
            try:
                values = convert(column, Feature(name, "text"), 0, "", from_text=source.from_text, form=source.form)
            except InputError:
                # Everything else can be written as a text.
                odd[name] = str(column.type)
                empty.discard(name)
            else:
                if values.null_count < len(values):
                    empty.discard(name)
        if not empty:
            break
    return empty, odd


def read_columns(source: TableSource, names: Sequence[str], texts: Sequence[str] = ()) -> pd.DataFrame:
    """Return a few columns of all rows, in the types that pandas would give them; of text files, ``texts`` as text."""
    pieces: dict[str, list[pa.Array]] = {name: [] for name in names}
    for chunk in source.chunks((), list(dict.fromkeys(names))):
        for name in pieces:
            column = chunk.column(name)
            pieces[name].append(column.dictionary_encode() if source.from_text else column)
    table: dict[str, pd.Series] = {}
    for name, parts in pieces.items():
        column = pa.chunked_array(parts or [pa.array([], pa.string()).dictionary_encode()])
        if source.from_text:
            whole = column.unify_dictionaries().combine_chunks()
            column = _as_read(whole.dictionary, source.form, text=name in texts).take(whole.indices)
        table[name] = pa.table({name: column}).to_pandas()[name]
    return pd.DataFrame(table)


def _as_read(texts: pa.Array, form: CsvForm, *, text: bool) -> pa.Array:
    """Return the texts of a CSV column as whole numbers, numbers, booleans or texts: the first that all of them are."""
    as_text = pc.if_else(pc.is_in(texts, value_set=pa.array(form.text_gaps)), pa.scalar(None, pa.string()), texts)
    if text:
        return as_text
    words = pc.utf8_trim_whitespace(texts)
    words = pc.if_else(pc.is_in(words, value_set=pa.array(form.gaps)), pa.scalar(None, pa.string()), words)
    numbers = number_words(words, form)
    for kind in (pa.int64(), pa.uint64(), pa.float64()):
        if pa.types.is_integer(kind) and words.null_count:
            continue
        try:
            return numbers.cast(kind)
        except pa.ArrowInvalid:
            continue
    lower = pc.ascii_lower(words)
    if pc.all(pc.is_in(lower.drop_null(), value_set=pa.array(["true", "false"]))).as_py() and not words.null_count:
        return pc.equal(lower, "true")
    return as_text
