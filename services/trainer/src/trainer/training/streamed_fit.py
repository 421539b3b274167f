"""What LightGBM and the encoder are given of a table that is read in passes, so that they make the same model of it.

The encoder is fitted to the distinct texts, which one pass finds. LightGBM asks its ``Sequence`` for the sample that it
chooses bins by, which are the same rows as in memory, and then for all rows in their order: a pass each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trainer.data.streamed_table import StreamedTable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.compose import ColumnTransformer

    from trainer.data.typed_chunks import Columns


def distinct_rows(table: StreamedTable) -> pd.DataFrame:
    """Return few rows to which an encoder can be fitted as to all of a table's: they hold each text."""
    texts = [name for name, kind in table.source.types.items() if kind == "text"]
    found: dict[str, dict[Any, None]] = {name: {} for name in texts}
    for columns in table.columns() if texts else ():
        for name in texts:
            found[name].update(dict.fromkeys(pc.unique(columns[name]).to_pylist()))
    rows = max((len(values) for values in found.values()), default=1)
    frame: dict[str, Any] = {}
    for name, kind in table.source.types.items():
        if kind == "text":
            values = [np.nan if value is None else value for value in found[name]]
            frame[name] = pd.Series(list(islice(cycle(values), rows)), dtype="str")
        elif kind == "boolean":
            frame[name] = pd.Series([True] * rows, dtype=object if name in table.gaps else bool)
        else:
            frame[name] = pd.Series(np.nan, index=range(rows), dtype="float64" if kind == "number" else "str")
    return pd.DataFrame(frame)


class EncodedRows(lightgbm.Sequence):
    """The rows of a table as the numbers that an encoder makes of them; read forwards, again from the first on."""

    batch_size = 1 << 16

    def __init__(self, table: StreamedTable, encode: ColumnTransformer) -> None:
        self._table = table
        self._positions = {str(name): place for place, name in enumerate(encode.get_feature_names_out())}
        self._known: dict[str, pa.Array] = {}
        for label, transformer, columns in encode.transformers_:
            if label == "text" and len(columns):
                for column, categories in zip(columns, transformer.categories_, strict=True):
                    # A missing value is the last category, if it is one.
                    words = [value for value in categories if isinstance(value, str)]
                    self._known[column] = pa.array(words, pa.string())
        self._first, self._held = 0, np.empty((0, len(self._positions)))
        self._chunks: Iterator[Columns] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns there are."""
        return self._table.rows, len(self._positions)

    def __len__(self) -> int:
        return self._table.rows

    def __getitem__(self, index: int | slice | list[int]) -> NDArray[np.float64]:
        if isinstance(index, slice):
            return self._rows(index.start, index.stop)
        if isinstance(index, list):
            raise TypeError("rows are read in their order")
        self._go_to(int(index))
        row: NDArray[np.float64] = self._held[int(index) - self._first]
        return row

    def _rows(self, start: int, stop: int) -> NDArray[np.float64]:
        self._go_to(start)
        pieces = []
        while start < stop:
            self._go_to(start)
            piece = self._held[start - self._first : stop - self._first]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces)

    def _go_to(self, row: int) -> None:
        """Read on until a row is held."""
        if self._chunks is None or row < self._first:
            self._chunks, self._first, self._held = self._table.columns(), 0, self._held[:0]
        while row >= self._first + len(self._held):
            self._first += len(self._held)
            self._held = self._encoded(next(self._chunks))

    def _encoded(self, columns: Columns) -> NDArray[np.float64]:
        rows = len(next(iter(columns.values())))
        matrix = np.empty((rows, len(self._positions)))
        for name, position in self._positions.items():
            column = columns[name]
            if (known := self._known.get(name)) is not None:
                column = pc.index_in(column, value_set=known)
            if column.type != pa.float64():
                column = column.cast(pa.int32()).cast(pa.float64())
            # A missing value becomes NaN here.
            matrix[:, position] = column.to_numpy(zero_copy_only=False)
        return matrix


class _StreamedDataset(lightgbm.Dataset):
    """A data set that is made of a sequence, with the parameters and the bins of one that is made of a table.

    LightGBM would otherwise leave out parameters, the seed of the sample among them, by which it chooses bins.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pandas_categorical: Any = []

    def get_params(self) -> dict[str, Any]:
        """Return all parameters."""
        return dict(self.params or {})

    def construct(self) -> _StreamedDataset:
        """Read and bin the rows.

        LightGBM makes room for the weights that the data set has to whose bins it keeps, and for scores to begin with:
        zeros, where these rows have none.
        """
        fresh = self._handle is None
        super().construct()
        for field, given in (("weight", self.weight), ("init_score", self.init_score)) if fresh else ():
            if given is None:
                self.set_field(field, None)
        return self


def stand_in(rows: EncodedRows, names: Sequence[str]) -> pd.DataFrame:
    """Return a table of the same shape, which takes no room: what scikit-learn's interface is given."""
    return pd.DataFrame(np.broadcast_to(np.float64(0), rows.shape), columns=list(names), copy=False)


@contextmanager
def streaming(rows: Mapping[int, EncodedRows]) -> Iterator[None]:
    """Have LightGBM's scikit-learn interface, which takes no sequence, make its data sets of sequences.

    Args:
        rows: The sequence for each stand-in, by its ``id``.
    """

    def dataset(data: Any, **options: Any) -> Any:
        return _StreamedDataset(data=rows[id(data)], **options)

    with patch("lightgbm.sklearn.Dataset", dataset):
        yield
