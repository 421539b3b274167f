"""How tables are read and split, beside where they are: what the options of a command say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.config.values import ColumnType


@dataclass(frozen=True)
class Reading:
    """How a table is read and split.

    ``target`` names the target column of a single table; ``test_size`` is the share of its rows (0 to 1) that is held
    out, and ``seed`` seeds that split and the generator. ``column_types`` are those of a model: only its columns are
    read, and as it was trained on them; None to tell the types by the values.
    """

    target: str | None = None
    test_size: float = 0.2
    seed: int = 42
    column_types: Mapping[str, ColumnType] | None = None

    @property
    def texts(self) -> list[str]:
        """The columns that are read as they are written."""
        return [name for name, kind in (self.column_types or {}).items() if kind == "text"]
