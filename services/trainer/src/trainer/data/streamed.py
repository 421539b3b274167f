"""Tables that are larger than memory: read in passes, while only a few values of each row are held.

Held are the target, the weight, the time and the group of each row, and which rows are in which part. The features are
read again for each pass. Everything else is as with a table in memory: the same types, split, digest, and model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from trainer.data.column_digest import TableDigest
from trainer.data.column_names import alike_names_warnings
from trainer.data.csv_faults import check_repeated_header
from trainer.data.dataset import Dataset, Table
from trainer.data.missing_words import MissingWords
from trainer.data.parts import few_warnings
from trainer.data.row_chunks.opening import open_files
from trainer.data.table_file import no_rows
from trainer.data.two_tables import check_target
from trainer.data.typed_chunks import Columns, TypedChunks, found_types, read_columns, selected, to_frame
from trainer.data.uniform import check_columns_of_model, empty_warning, feature_warnings, fields_of
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.reading import Reading
    from trainer.data.table_files import TableFiles

#: On so many rows of a part the warnings on its columns are based.
_LOOKED_AT = 50_000
#: So many first rows are kept, for the model's input example.
_HEAD = 5


@dataclass(frozen=True)
class StreamedTable(Table):
    """Rows of a table on disk: ``features`` are its first rows alone, ``parts`` reads all of them.

    ``target`` may be of small integers. ``chosen`` says of each row of the file whether it is among them. ``gaps``
    are the boolean columns in which a row of the training or the test part has no value.
    """

    held: ClassVar[bool] = False

    source: TypedChunks = field(kw_only=True)
    chosen: NDArray[np.bool_] = field(kw_only=True)
    gaps: frozenset[str] = frozenset()

    def take(self, index: NDArray[np.int64]) -> StreamedTable:
        """Return the rows at the positions ``index``, which ascend."""
        chosen = np.zeros(len(self.chosen), dtype=bool)
        chosen[np.flatnonzero(self.chosen)[index]] = True
        return replace(
            self,
            target=_wide(self.target[index]),
            weight=None if self.weight is None else self.weight[index],
            time=None if self.time is None else self.time[index],
            group=None if self.group is None else self.group[index],
            chosen=chosen,
        )

    def joined(self, other: Table, order: NDArray[np.int64]) -> StreamedTable:
        """Return the rows of both tables, which are of the same files, in their ``order`` there."""
        assert isinstance(other, StreamedTable) and other.source is self.source  # noqa: S101, PT018 - says what is meant
        joined = replace(self, chosen=self.chosen | other.chosen, gaps=self.gaps | other.gaps)
        return replace(joined, **self.joined_values(other, order))

    def span(self, start: int, stop: int) -> StreamedTable:
        """Return the rows from one position to before another; of the files, only those are read that hold them."""
        taken = self.take(np.arange(start, stop))
        source, first, last = taken.source.spanning(taken.chosen)
        return replace(taken, source=source, chosen=taken.chosen[first:last])

    def columns(self) -> Iterator[Columns]:
        """Yield the rows in chunks, as Arrow's columns: one pass.

        Raises:
            InputError: The files have changed since the first pass.
        """
        rows = 0
        for start, count, columns in self.source.chunks():
            rows = start + count
            wanted = self.chosen[start:rows]
            if len(wanted) < count:
                break
            if wanted.any():
                yield selected(columns, wanted)
        if rows != len(self.chosen):
            raise InputError(f"{self.source.files.place}: has changed while it was read; train again")

    def parts(self) -> Iterator[pd.DataFrame]:
        """Yield the features in chunks: one pass."""
        for columns in self.columns():
            yield self._frame(columns)

    def rows_at(self, positions: NDArray[np.int64]) -> pd.DataFrame:
        """Return the features of a few rows."""
        order = np.argsort(positions, kind="stable")
        found = pd.concat(list(self.take(positions[order]).parts()), ignore_index=True)
        return found.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)

    def example(self) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Return rows with a target of each class."""
        first = np.sort(np.unique(self.target, return_index=True)[1])
        return self.rows_at(first), _wide(self.target[first])

    @property
    def digest(self) -> str:
        """The digest of its contents, see ``Table.digest``: a pass."""
        digest, row = TableDigest(list(self.source.types)), 0
        for part in self.parts():
            digest.add(part, self.target[row : row + len(part)])
            row += len(part)
        return self.with_roles(digest.hexdigest())

    def _frame(self, columns: Columns) -> pd.DataFrame:
        frame = to_frame(columns, self.source.features)
        for name in self.gaps:
            # As in memory, where one missing value makes the whole column one of objects.
            frame[name] = frame[name].astype(object)
        return frame


def narrow_table(files: TableFiles, how: Reading, warnings: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns of a table that are no features, and the names of all columns; ``warnings`` takes warnings.

    Raises:
        InputError: There is no such column, or the file cannot be read.
    """
    source = open_files(files, how.form)
    names = source.named(warnings)
    head = pd.DataFrame(columns=names)
    check_target(head, files.place, how.target, how.form)
    how.without_dropped(head, str(files.place))
    wanted = [str(how.target), *(name for _, name in how.roles.options)]
    table = read_columns(source, wanted, how.texts)
    if table.empty:
        raise no_rows(files.place, how.form)
    if source.from_text and (table[how.target] == how.target).any():
        for file in files.files:
            check_repeated_header(file, how.form)
    return table, names


def streamed_types(files: TableFiles, how: Reading, names: list[str]) -> TypedChunks:
    """Return the table with the types of its features: those of a model, or as all rows decide.

    Raises:
        InputError: It has no features, lacks some of a model's, or holds what no model takes.
    """
    out = {str(how.target), *how.drop, *(name for _, name in how.roles.options)}
    features = [name for name in names if name not in out]
    if how.column_types is not None:
        check_columns_of_model(str(files.place.resolve()), features, how.column_types)
        return TypedChunks(files, how.form, dict(how.column_types))
    if not features:
        raise InputError(f"{files.place}: has no feature columns")
    types = found_types(open_files(files, how.form), features, how.categorical)
    for name in how.monotone:
        if types[name] != "number":
            raise InputError(f"{files.place}: column {name!r} is {types[name]}; --monotone takes columns of numbers")
    if all(kind == "unknown" for kind in types.values()):
        raise InputError(f"{files.place}: every feature value is missing")
    return TypedChunks(files, how.form, types)


def streamed_dataset(
    train: Table, test: Table, table: TypedChunks, out: NDArray[np.int64], how: Reading, **rest: Any
) -> Dataset:
    """Return the data set whose features are read in passes.

    Args:
        train: The training rows' targets, weights, times and groups.
        test: Those of the test rows.
        table: The table.
        out: The positions of the test rows, ascending.
        how: How it is read.
        rest: The other fields of the data set.
    """
    is_test = np.zeros(train.rows + test.rows, dtype=bool)
    is_test[out] = True
    parts = [_Part(rows, table, chosen) for rows, chosen in ((train, ~is_test), (test, is_test))]
    words = MissingWords(how.form, (name for name, kind in table.types.items() if kind == "text"))
    for start, count, columns in table.chunks(words):
        for part in parts:
            part.add(start, count, columns)
    streamed = [part.table() for part in parts]
    streamed[1] = replace(streamed[1], target=_wide(streamed[1].target))
    warnings = [*rest.pop("warnings"), *few_warnings(table.files, words.warnings())]
    if how.column_types is None:
        warnings += alike_names_warnings(table.types)
        for name, kind in table.types.items():
            samples = [part.sample[name] for part in parts]
            warnings += feature_warnings(name, kind, samples, parts[0].sample_target, how, apart=False)
    empty = [name for name in table.types if name not in parts[0].filled]
    if len(empty) == len(table.types):
        raise InputError(f"{table.files.place}: every feature value is missing")
    if empty:
        warnings.append(empty_warning(empty))
    return Dataset(
        column_types=dict(table.types),
        **fields_of(how),
        train=streamed[0],
        test=streamed[1],
        digest=parts[0].hexdigest(),
        test_digest=parts[1].hexdigest(),
        warnings=tuple(warnings),
        **rest,
    )


def _narrow(target: NDArray[Any]) -> NDArray[Any]:
    """Return codes of classes in a byte or two each."""
    return target if target.dtype.kind == "f" else target.astype(np.min_scalar_type(-int(target.max()) - 1))


def _wide(target: NDArray[Any]) -> NDArray[Any]:
    """Return them as a fit and the metrics take them."""
    return target if target.dtype.kind == "f" else target.astype(np.int64)


class _Part:
    """What is learnt of the training or the test rows in the first pass."""

    def __init__(self, table: Table, source: TypedChunks, chosen: NDArray[np.bool_]) -> None:
        self._table, self._source, self._chosen = table, source, chosen
        self._digest = TableDigest(list(source.types))
        self._row = 0
        self._gaps: set[str] = set()
        #: The columns that have a value.
        self.filled: set[str] = set()
        self._step = max(table.rows // _LOOKED_AT, 1)
        self._samples: list[pd.DataFrame] = []
        self._head = pd.DataFrame()

    def add(self, start: int, count: int, columns: Columns) -> None:
        wanted = self._chosen[start : start + count]
        rows = int(wanted.sum())
        if not rows:
            return
        taken = selected(columns, wanted)
        frame = to_frame(taken, self._source.features)
        self._digest.add(frame, self._table.target[self._row : self._row + rows])
        for name, column in taken.items():
            if self._source.types[name] == "boolean" and column.null_count:
                self._gaps.add(name)
            if name not in self.filled and frame[name].notna().any():
                self.filled.add(name)
        if len(self._head) < _HEAD:
            self._head = pd.concat([self._head, frame]).head(_HEAD) if len(self._head) else frame.head(_HEAD).copy()
        first = -self._row % self._step
        # A copy: a view would hold the chunk.
        self._samples.append(frame.iloc[first :: self._step].copy())
        self._row += rows

    @property
    def sample(self) -> pd.DataFrame:
        """Rows at even distances."""
        return pd.concat(self._samples, ignore_index=True)

    @property
    def sample_target(self) -> NDArray[Any]:
        """Their targets."""
        return self._table.target[:: self._step]

    def hexdigest(self) -> str:
        return self._table.with_roles(self._digest.hexdigest())

    def table(self) -> StreamedTable:
        table = self._table
        head = self._head.reset_index(drop=True)
        for name in self._gaps:
            head[name] = head[name].astype(object)
        return StreamedTable(
            head,
            _narrow(table.target),
            table.weight,
            table.time,
            table.group,
            source=self._source,
            chosen=self._chosen,
            gaps=frozenset(self._gaps),
        )
