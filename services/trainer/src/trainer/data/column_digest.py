"""The digest of a table's contents, computed column by column: of all rows at once, or of one chunk after the other.

It depends on column names, kinds, values and their order; not on the file's format or on pandas' own types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TableDigest:
    """A SHA-256 digest (32 hexadecimal digits) of the rows that were added so far."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = [_ColumnDigest(name) for name in columns]
        self._target = hashlib.sha256()

    def add(self, features: pd.DataFrame, target: NDArray[Any]) -> None:
        """Add rows, whose columns are in their types."""
        for column in self._columns:
            column.add(features[column.name])
        # Codes of classes are whole numbers of 64 bits, however they are kept.
        kept = target.astype("<i8" if target.dtype.kind in "iu" else "<f8")
        self._target.update(np.ascontiguousarray(kept).tobytes())

    def hexdigest(self) -> str:
        """Return the digest."""
        state = hashlib.sha256()
        for column in self._columns:
            state.update(column.digest())
        state.update(b"target:" + self._target.digest())
        return state.hexdigest()[:32]


class _ColumnDigest:
    """The digest of a column: of its numbers, or of the codes of its categories in the order of their first rows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._state = hashlib.sha256()
        self._codes: dict[str, int] = {}
        self._numeric = False

    def add(self, column: pd.Series) -> None:
        self._numeric = column.dtype == np.float64
        if self._numeric:
            # Adding zero makes -0.0 and 0.0 alike; all missing values become the same bit pattern.
            numbers = column.to_numpy() + 0.0
            numbers[np.isnan(numbers)] = np.nan
            self._state.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
            return
        codes, categories = pd.factorize(column, sort=False)
        # Missing values have the code -1, and so the last place.
        known = [self._codes.setdefault(str(category), len(self._codes)) for category in categories]
        self._state.update(np.array([*known, -1], dtype="<i8")[codes].tobytes())

    def digest(self) -> bytes:
        kind = "number" if self._numeric else "category"
        self._state.update(f"{kind}:{len(self.name)}:{self.name}:".encode())
        for text in self._codes:
            self._state.update(f"{len(text)}:{text}".encode())
        return self._state.digest()


def table_digest(features: pd.DataFrame, target: NDArray[Any]) -> str:
    """Return a SHA-256 digest (32 hexadecimal digits) of a table's contents, see ``TableDigest``."""
    digest = TableDigest(list(features.columns))
    digest.add(features, target)
    return digest.hexdigest()
