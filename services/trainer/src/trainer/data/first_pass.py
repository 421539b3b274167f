"""The first pass over a table that is read in passes. It learns what is needed before anything is fitted to the table.

These are the digests, samples of the rows for the warnings, and which columns have missing values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer.data.column_digest import TableDigest
from trainer.data.column_names import alike_names_warnings
from trainer.data.dataset import Dataset, Table
from trainer.data.missing_words import MissingWords
from trainer.data.parts import few_warnings
from trainer.data.row_hashes import hash_rows
from trainer.data.split_warnings import shared_rows_warning
from trainer.data.streamed_table import StreamedTable, wide
from trainer.data.typed_chunks import Columns, TypedChunks, selected, to_frame
from trainer.data.unified_tables import (
    empty_warning,
    feature_warnings,
    fields_of,
)
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.reading import Reading

#: How many rows of a part are looked at for the warnings on its columns.
_LOOKED_AT = 50_000
#: How many first rows are kept for the model's input example.
_HEAD = 5


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
    parts = [FirstPass(rows, table, chosen) for rows, chosen in ((train, ~is_test), (test, is_test))]
    rest["warnings"] = [*rest["warnings"], *_read(table, parts)]
    return _assembled(parts, how, apart=False, **rest)


def streamed_pair(tables: Sequence[Table], sources: Sequence[TypedChunks], how: Reading, **rest: Any) -> Dataset:
    """Return the data set of two tables whose features are read in passes.

    Args:
        tables: The training and the test rows' targets, weights, times and groups.
        sources: Where their features come from.
        how: How they are read.
        rest: The other fields of the data set.
    """
    pairs = zip(tables, sources, strict=True)
    parts = [FirstPass(table, source, np.ones(table.rows, dtype=bool), apart=True) for table, source in pairs]
    rest["warnings"] = [*rest["warnings"], *(line for part in parts for line in _read(part.source, [part]))]
    return _assembled(parts, how, apart=True, **rest)


def _read(source: TypedChunks, parts: Sequence[FirstPass]) -> list[str]:
    """Read the features of all parts in one pass; return the warnings on words for missing values."""
    words = MissingWords(source.form, (name for name, kind in source.types.items() if kind == "text"))
    for start, count, columns in source.chunks(words):
        for part in parts:
            part.add(start, count, columns)
    return few_warnings(source.files, words.warnings())


def _assembled(parts: Sequence[FirstPass], how: Reading, *, apart: bool, warnings: list[str], **rest: Any) -> Dataset:
    """Return the data set of the training and the test rows."""
    train, test = parts
    types = train.source.types
    if how.column_types is None:
        warnings += alike_names_warnings(types)
        for name, kind in types.items():
            samples = [part.sample[name] for part in parts]
            known = pd.Series(list(train.texts[name]), dtype="str") if apart and kind == "text" else None
            options: dict[str, Any] = {"apart": apart, "known": known, "rows": train.rows}
            warnings += feature_warnings(name, kind, samples, train.sample_target, how, **options)
    empty = [name for name in types if name not in train.filled]
    if len(empty) == len(types):
        raise InputError(f"{train.source.files.place}: every feature value is missing")
    if empty:
        warnings.append(empty_warning(empty))
    if apart and (shared := shared_rows_warning(*(np.concatenate(part.hashes) for part in parts))) is not None:
        warnings.append(shared)
    tested = test.table()
    return Dataset(
        column_types=dict(types),
        **fields_of(how),
        train=train.table(),
        test=replace(tested, target=wide(tested.target)),
        digest=train.hexdigest(),
        test_digest=test.hexdigest(),
        warnings=tuple(warnings),
        **rest,
    )


def _narrow(target: NDArray[Any]) -> NDArray[Any]:
    """Return codes of classes in a byte or two each."""
    return target if target.dtype.kind == "f" else target.astype(np.min_scalar_type(-int(target.max()) - 1))


class FirstPass:
    """What the first pass learns of the training rows, or of the test rows.

    Of rows in files of their own (``apart``), it also keeps hashes and texts.
    """

    def __init__(self, table: Table, source: TypedChunks, chosen: NDArray[np.bool_], *, apart: bool = False) -> None:
        self._table, self.source, self._chosen, self._apart = table, source, chosen, apart
        self._digest = TableDigest(list(source.types))
        self._row = 0
        self._gaps: set[str] = set()
        #: The columns that have a value.
        self.filled: set[str] = set()
        #: The hashes of the rows, and the distinct texts of each column.
        self.hashes: list[NDArray[np.uint32]] = []
        self.texts: dict[str, dict[str, None]] = {name: {} for name, kind in source.types.items() if kind == "text"}
        self._step = max(table.rows // _LOOKED_AT, 1)
        self._samples: list[pd.DataFrame] = []
        self._head = pd.DataFrame()

    def add(self, start: int, count: int, columns: Columns) -> None:
        """Add a chunk of the table: how many rows come before, how many it has, and its columns."""
        wanted = self._chosen[start : start + count]
        rows = int(wanted.sum())
        if not rows:
            return
        taken = selected(columns, wanted)
        frame = to_frame(taken, self.source.features)
        self._digest.add(frame, self._table.target[self._row : self._row + rows])
        for name, column in taken.items():
            if self.source.types[name] == "boolean" and column.null_count:
                self._gaps.add(name)
            if name not in self.filled and frame[name].notna().any():
                self.filled.add(name)
        if self._apart:
            self.hashes.append(hash_rows(frame, list(self.source.types)))
            for name, texts in self.texts.items():
                texts.update(dict.fromkeys(frame[name].dropna().unique()))
        if len(self._head) < _HEAD:
            self._head = pd.concat([self._head, frame]).head(_HEAD) if len(self._head) else frame.head(_HEAD).copy()
        first = -self._row % self._step
        # A copy: a view would hold the chunk.
        self._samples.append(frame.iloc[first :: self._step].copy())
        self._row += rows

    @property
    def rows(self) -> int:
        """How many there are."""
        return self._table.rows

    @property
    def sample(self) -> pd.DataFrame:
        """Rows at even distances."""
        return pd.concat(self._samples, ignore_index=True)

    @property
    def sample_target(self) -> NDArray[Any]:
        """Their targets."""
        return self._table.target[:: self._step]

    def hexdigest(self) -> str:
        """Return the digest of the rows."""
        return self._table.with_roles(self._digest.hexdigest())

    def table(self) -> StreamedTable:
        """Return the rows."""
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
            source=self.source,
            chosen=self._chosen,
            gaps=frozenset(self._gaps),
        )
