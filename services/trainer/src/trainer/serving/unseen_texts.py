"""Counts the texts in requests that a model does not know, and tells of them: at once, and then now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.values import category_text
from trainer.util.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Seconds between two lines.
PAUSE = 600.0
_SHOWN = 5
_NONE: Mapping[str, int] = {}


class UnseenTexts:
    """The unknown texts of one model's requests since they were last told of. Any thread may use it."""

    def __init__(
        self,
        order: Sequence[str],
        texts: Mapping[str, object],
        gaps: frozenset[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            order: The columns in the order in which the trees take them.
            texts: The names of the columns of texts.
            gaps: The words for a missing value.
            clock: Tells the time, in seconds.
        """
        self._places = {name: place for place, name in enumerate(order) if name in texts}
        self._gaps, self._clock, self._lock = gaps, clock, Lock()
        self._next, self._rows = clock(), 0
        self._found: dict[str, tuple[int, str]] = {}

    def count(self, matrix: NDArray[np.float64], given: Mapping[Any, Any]) -> Mapping[str, int]:
        """Count the unknown texts of a request: what has no code, and is no missing value; return how many by column.

        Args:
            matrix: (rows, columns) what the trees take.
            given: The columns that it was made of.
        """
        new: dict[str, list[str]] = {}
        for name, place in self._places.items():
            # Of a single row, a look at its number takes a tenth of the time of NumPy's.
            if len(matrix) == 1 and not math.isnan(matrix.item(place)):
                continue
            values = given[name]
            gaps = np.flatnonzero(np.isnan(matrix[:, place])).tolist()
            texts = [category_text(values[row]) for row in gaps if not self._missing(values[row])]
            if texts:
                new[name] = texts
        with self._lock:
            self._rows += len(matrix)
            for name, texts in new.items():
                before, example = self._found.get(name, (0, texts[0]))
                self._found[name] = (before + len(texts), example)
        return {name: len(texts) for name, texts in new.items()} if new else _NONE

    def due(self) -> str | None:
        """Return what is to be told now, if anything, and begin anew."""
        if not self._found or self._clock() < self._next:
            return None
        with self._lock:
            found, rows = self._found, self._rows
            self._found, self._rows, self._next = {}, 0, self._clock() + PAUSE
        if not found:
            return None
        most = sorted(found.items(), key=lambda item: -item[1][0])
        words = [f"{one_line(name, 40)} in {count:,}, such as {one_line(repr(text), 40)}"
                 for name, (count, text) in most[:_SHOWN]]  # fmt: skip
        rest = f"; and {len(most) - _SHOWN} more columns" if len(most) > _SHOWN else ""
        return f"of {rows:,} rows, texts that the model does not know count as missing: {'; '.join(words)}{rest}"

    def _missing(self, value: object) -> bool:
        return value is None or (isinstance(value, float) and math.isnan(value)) or str(value).strip() in self._gaps
