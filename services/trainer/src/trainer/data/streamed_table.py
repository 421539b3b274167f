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
from trainer.data.dataset import Table
from trainer.data.typed_chunks import Columns, TypedChunks, selected, to_frame
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
            target=wide(self.target[index]),
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
            raise InputError(f"{self.source.files.place}: has changed while it was read; start again")

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
        return self.rows_at(first), wide(self.target[first])

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


def wide(target: NDArray[Any]) -> NDArray[Any]:
    """Return them as a fit and the metrics take them."""
    return target if target.dtype.kind == "f" else target.astype(np.int64)
