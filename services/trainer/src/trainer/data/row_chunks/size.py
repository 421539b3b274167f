"""How large a chunk is."""

from __future__ import annotations

#: A chunk of text. Large enough that what each chunk costs beyond its rows does not show; small enough that a chunk for
#: each of many cores fits into memory, as numbers too.
BLOCK = 1 << 20
#: So many columns may share a block; of wider tables it is larger, so that a chunk does not hold a few rows only.
_COLUMNS, _LARGEST = 64, 16
_FEWEST, _MOST = 1_024, 65_536


def block(columns: int) -> int:
    """Return how many bytes of text a chunk of so many columns is."""
    return BLOCK * min(max(columns // _COLUMNS, 1), _LARGEST)


def rows(columns: int, scale: int) -> int:
    """Return how many rows of a typed file a chunk of so many columns is, ``scale`` times as many as otherwise."""
    return max(_FEWEST, min(_MOST, scale * 4 * BLOCK // (8 * max(columns, 1))))
