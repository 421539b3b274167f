"""Adds up the values of the leaves that rows reach, as LightGBM adds them up: what lets trees be asked in blocks.

LightGBM walks all trees for one row, and then for the next: a large model's nodes have left the processor's cache by
then. A block of trees for many rows stays in it. But LightGBM returns the sum of a block, and adding such sums is
another order of additions, with other last bits. So a block says which leaves the rows reach, and their values are
added here, tree by tree, from zero: the same additions in the same order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: (rows, trees) leaves of rows, for the block of trees that begins with this one.
FindLeaves = Callable[["NDArray[np.float64]", int], "NDArray[np.float64]"]
#: Trees of a block, and rows that are asked for together.
_BLOCK, _ROWS = 32, 1_024
#: Leaves of the smallest model, and rows of the smallest matrix, for which blocks are used: 1,000 rows and 500 trees of
#: 60 leaves take two thirds of the time. Smaller models stay in the cache anyway.
FEWEST_LEAVES, FEWEST_ROWS = 10_000, 128


class LeafSums:
    """The values of a model's leaves, and the function that makes a probability of a score."""

    def __init__(self, values: NDArray[np.float64], starts: NDArray[np.intp], steepness: float) -> None:
        """Keep what is needed to add up leaves.

        Args:
            values: The leaves' values, tree by tree.
            starts: (trees,) where each tree's begin.
            steepness: What a score is multiplied with in the exponent.
        """
        self._values, self._starts, self._steepness = values, starts, steepness

    @classmethod
    def read(cls, text: str, iterations: int) -> LeafSums | None:
        """Read a model's text; return None for a small one, and where the probabilities are of no plain sum over trees.

        Args:
            text: The model as LightGBM writes it.
            iterations: How many of its iterations predict; all for 0 or less.
        """
        head = text.partition("\nTree=")[0]
        objective = re.search(r"^objective=binary sigmoid:(\S+)$", head, re.M)
        # A forest's score is a mean; a linear tree's leaf has no one value.
        if objective is None or re.search(r"^average_output$", head, re.M) or "\nis_linear=1\n" in text:
            return None
        parts = text.split("\nleaf_value=")[1:]
        lines = [part[: part.index("\n")] for part in (parts[:iterations] if iterations > 0 else parts)]
        starts = np.cumsum([0, *(line.count(" ") + 1 for line in lines)])
        if starts[-1] < FEWEST_LEAVES:
            return None
        return cls(np.array(" ".join(lines).split(), dtype=np.float64), starts[:-1], float(objective[1]))

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """The blocks of trees: the first of each, and the one after its last."""
        trees = len(self._starts)
        return [(first, min(first + _BLOCK, trees)) for first in range(0, trees, _BLOCK)]

    def probabilities(self, matrix: NDArray[np.float64], find: FindLeaves) -> NDArray[np.float64]:
        """Return the (rows,) probabilities for a matrix, whose leaves ``find`` finds."""
        scores = np.zeros(len(matrix))
        for row in range(0, len(matrix), _ROWS):
            some = scores[row : row + _ROWS]
            for first, end in self.blocks:
                starts = self._starts[first:end]
                leaves = find(matrix[row : row + _ROWS], first)
                for values in self._values[leaves.T.astype(np.intp) + starts[:, None]]:
                    some += values
        # NumPy's own exponential function differs from the C library's in the last bit.
        return np.array([1.0 / (1.0 + _exp(-self._steepness * score)) for score in scores.tolist()])


def _exp(power: float) -> float:
    try:
        return math.exp(power)
    except OverflowError:
        return math.inf
