"""Hashes of rows, by which a model can tell later on whether it was trained on a row.

A row's hash depends on its features alone, by name and value: not on their order, and not on how a file writes them.
So a row that is corrected in its target only counts as the same row. 32 bits a row are kept: of rows that a model has
never seen, one in 400 is taken for a training row where there were ten million of these, and none the other way round.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trainer.config.boolean_words import BOOLEANS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"([-+]?\d+)(?:\.0*)?", re.ASCII)
#: Up to here, each whole number is a float of its own; and in single precision.
LARGEST_EXACT, _EXACT_SINGLE = 2**53, 2**24


@dataclass(frozen=True)
class RowHashes:
    """The rows of a table: the names of its features, and the distinct hashes of its rows, ascending."""

    columns: tuple[str, ...]
    hashes: NDArray[np.uint32]
    #: The columns whose numbers are of single precision, as a Parquet file may hold them.
    single: frozenset[str] = frozenset()

    @classmethod
    def of(cls, features: pd.DataFrame) -> RowHashes:
        """Return the hashes of a table's rows."""
        return cls.of_parts([features])

    @classmethod
    def of_parts(cls, parts: Iterable[pd.DataFrame]) -> RowHashes:
        """Return the hashes of a table's rows, which come in parts."""
        names: tuple[str, ...] = ()
        found = []
        precisions: dict[str, set[bool | None]] = {}
        for part in parts:
            names = tuple(str(name) for name in part.columns)
            found.append(hash_rows(part, names))
            for name in names:
                precisions.setdefault(name, set()).add(_is_single(part[name]))
        # Numbers that are the same in both precisions tell nothing of the others.
        single = frozenset(name for name, some in precisions.items() if True in some and False not in some)
        return cls(names, np.unique(np.concatenate(found)), single)

    def hold(self, features: pd.DataFrame) -> NDArray[np.bool_] | None:
        """Tell for each row of another table whether it is among these; None where that table lacks a column."""
        if any(name not in features.columns for name in self.columns):
            return None
        held = self._among(features)
        if otherwise := self._as_there(features):
            held |= self._among(features.assign(**otherwise))
        return held

    def _among(self, features: pd.DataFrame) -> NDArray[np.bool_]:
        asked = hash_rows(features, self.columns)
        if not len(self.hashes):
            return np.zeros(len(asked), dtype=bool)
        # These are in order: of a table in parts, they need not be sorted again for each.
        places = np.minimum(np.searchsorted(self.hashes, asked), len(self.hashes) - 1)
        held: NDArray[np.bool_] = self.hashes[places] == asked
        return held

    def _as_there(self, features: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
        """Return the numbers that are of another precision than these rows', in the one of these.

        0.1 in single precision is another number than 0.1, and a CSV file says 0.1 for both.
        """
        changed = {}
        for name in self.columns:
            if (is_single := _is_single(features[name])) is False and name in self.single:
                changed[name] = features[name].to_numpy().astype(np.float32).astype(np.float64)
            elif is_single and name not in self.single:
                # By the digits that a file would say.
                changed[name] = features[name].to_numpy().astype(np.float32).astype(str).astype(np.float64)
        return changed

    def save(self, path: Path) -> None:
        """Write the hashes to a file."""
        # Differences of ascending numbers are small: they take half the room.
        steps = np.diff(self.hashes, prepend=np.uint32(0))
        single = np.array(sorted(self.single), dtype=str)
        np.savez_compressed(path, columns=np.array(self.columns, dtype=str), steps=steps, single=single)

    @classmethod
    def load(cls, path: Path) -> RowHashes:
        """Return the hashes in a file.

        Raises:
            ValueError: The file holds something else.
        """
        with np.load(path, allow_pickle=False) as content:
            columns = tuple(str(name) for name in content["columns"])
            single = frozenset(str(name) for name in content["single"])
            return cls(columns, np.cumsum(content["steps"], dtype=np.uint32), single)


def _is_single(column: pd.Series) -> bool | None:
    """Tell whether all numbers of a column are of single precision; None where they do not tell, as whole ones."""
    if column.dtype != np.float64:
        return None
    numbers = column.dropna().to_numpy()
    with np.errstate(over="ignore"):
        if not np.array_equal(numbers.astype(np.float32), numbers):
            return False
    return True if ((numbers != np.floor(numbers)) | (np.abs(numbers) > _EXACT_SINGLE)).any() else None


def hash_rows(features: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.uint32]:
    """Return a hash for each row of a table."""
    rows = np.zeros(len(features), dtype=np.uint64)
    for name in columns:
        # A sum does not depend on the columns' order.
        rows += _mixed(_bits(features[name]) ^ _text_bits(f"column {name}"))
    return (_mixed(rows) >> np.uint64(32)).astype(np.uint32)


def hash_values(column: pd.Series, decimal: str = ".") -> NDArray[np.int64]:
    """Return a hash of 64 bits for each value of a column: the same one for the same value in any file.

    ``decimal`` is the character before the decimals of numbers that are written as texts.
    """
    return _mixed(_bits(column, decimal)).view(np.int64)


def _bits(column: pd.Series, decimal: str = ".") -> NDArray[np.uint64]:
    """Return each value as 64 bits: the number that it is or spells, or a hash of its text."""
    if column.dtype == np.float64:
        return _number_bits(column.to_numpy())
    codes, categories = pd.factorize(column, sort=False)
    # Missing values have the code -1, and so the last place.
    known = np.empty(len(categories) + 1, dtype=np.uint64)
    known[-1] = _number_bits(np.array([np.nan]))[0]
    for place, category in enumerate(categories):
        # What is no text is a number or a date, which Python writes with points.
        known[place] = _category_bits(str(category), decimal if isinstance(category, str) else ".")
    return known[codes]


def _category_bits(text: str, decimal: str) -> np.uint64:
    word = text.strip()
    if decimal != ".":
        # A word with a point is no number then, as anywhere in such a file.
        word = "" if "." in word else word.replace(decimal, ".")
    truth = BOOLEANS.get(word.lower())
    if truth is None and not _NUMBER.fullmatch(word):
        return _text_bits(text)
    number = float(word) if truth is None else float(truth)
    # Whole numbers beyond 2**53, as identifiers are, share a float with their neighbours.
    if abs(number) >= LARGEST_EXACT and (whole := _WHOLE.fullmatch(word)) and (exact := Decimal(whole[1])) != number:
        return _text_bits(f"whole number {exact}")
    return np.uint64(_number_bits(np.array([number]))[0])


def _number_bits(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    # Adding zero makes -0.0 and 0.0 alike; all missing values become the same bit pattern.
    values = numbers + 0.0
    values[np.isnan(values)] = np.nan
    return values.view(np.uint64)


def _text_bits(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the bits mixed, so that each of them changes about half of the others (SplitMix64's last step)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
