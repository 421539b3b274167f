"""The data of a training in memory: tables, and what is known of them.

NumPy and pandas are imported where they are used: the command whose variants a cluster's workers train passes tables
on, and uses none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from trainer.config.csv_form import CsvForm
from trainer.config.task import Label, TaskName
from trainer.config.values import ColumnType

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """Features and target of the same rows: ``features`` is (rows, columns).

    ``target`` is (rows,): int64 codes of the classes, 0 and 1 where there are two, or float64 numbers in a regression.

    ``weight``, ``time`` and ``group`` are (rows,), where columns of the data were named for them: positive weights,
    numbers or datetime64[ns], and a hash of the group that a row belongs to. They are no features.
    """

    #: Whether the features are held in memory; see ``data.streamed_table``.
    held: ClassVar[bool] = True

    features: pd.DataFrame
    target: NDArray[Any]
    weight: NDArray[np.float64] | None = None
    time: NDArray[Any] | None = None
    group: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return len(self.target)

    @property
    def has_classes(self) -> bool:
        """Whether the target is one of classes."""
        return bool(self.target.dtype.kind != "f")

    def take(self, index: NDArray[np.int64]) -> Table:
        """Return the rows at the positions ``index``."""
        return Table(
            self.features.iloc[index].reset_index(drop=True),
            self.target[index],
            None if self.weight is None else self.weight[index],
            None if self.time is None else self.time[index],
            None if self.group is None else self.group[index],
        )

    def joined(self, other: Table, order: NDArray[np.int64]) -> Table:
        """Return the rows of both tables in an ``order``, which counts the other's after these."""
        import pandas as pd

        features = pd.concat([self.features, other.features], ignore_index=True)
        return Table(features.iloc[order].reset_index(drop=True), **self.joined_values(other, order))

    def joined_values(self, other: Table, order: NDArray[np.int64]) -> dict[str, Any]:
        """Return what both tables have beside their features, by the fields' names; see ``joined``."""
        import numpy as np

        names = ("target", "weight", "time", "group")
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {
            name: None if one is None or two is None else np.concatenate([one, two])[order]
            for name, (one, two) in pairs.items()
        }

    def span(self, start: int, stop: int) -> Table:
        """Return the rows from one position to before another."""
        import numpy as np

        return self.take(np.arange(start, stop))

    @property
    def digest(self) -> str:
        """The digest of its contents, see ``table_digest``; weights, times and groups count."""
        from trainer.data.column_digest import table_digest

        return self.with_roles(table_digest(self.features, self.target))

    def with_roles(self, digest: str) -> str:
        """Return the digest of features and target with that of weights, times and groups."""
        extras = {"weight": self.weight, "time": self.time, "group": self.group}
        if all(values is None for values in extras.values()):
            return digest
        import numpy as np

        state = hashlib.sha256(digest.encode())
        for name, values in extras.items():
            if values is not None:
                state.update(f"{name}:{values.dtype.kind}:".encode())
                state.update(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes())
        return state.hexdigest()[:32]

    def parts(self) -> Iterator[pd.DataFrame]:
        """Yield the features in parts, each of which fits into memory."""
        yield self.features

    def rows_at(self, positions: NDArray[np.int64]) -> pd.DataFrame:
        """Return the features of the rows at some positions."""
        return self.features.iloc[positions].reset_index(drop=True)

    def example(self) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Return features and target of rows of each class."""
        return self.features, self.target


@dataclass(frozen=True)
class Dataset:
    """The data of a training: what it is called, where it came from, and its training and test tables.

    ``digest`` and ``test_digest`` are SHA-256 digests (32 hexadecimal digits) of the parsed contents of the training
    and the test table. ``test_positions`` says which rows of the one table the test rows were, ascending; None where
    the two came apart. ``warnings`` are warnings for the user on what was done to the data.
    """

    name: str
    source: str
    target: str
    column_types: dict[str, ColumnType]
    train: Table
    test: Table
    digest: str
    test_digest: str
    generated: bool = False
    test_size: float | None = None
    seed: int | None = None
    test_positions: NDArray[np.int64] | None = None
    #: The positive class's value, where it was named.
    positive: str | None = None
    #: What is predicted, and the classes as the target column has them, in the order of their codes; none of a number.
    task: TaskName = "binary"
    classes: tuple[Label, ...] = (0, 1)
    #: The columns of weights, times and groups, by these words; see ``Table``.
    roles: Mapping[str, str] = field(default_factory=dict)
    #: How rows were split by time, by group or into files, as parameters of a run.
    split: Mapping[str, Any] = field(default_factory=dict)
    #: Columns of numbers with which the score may only rise (1) or only fall (-1).
    monotone: Mapping[str, int] = field(default_factory=dict)
    #: How its CSV files are written, and which words are missing values.
    form: CsvForm = field(default_factory=CsvForm)
    #: The columns that were left out, and those of which each value was to be a category.
    dropped: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    #: Where the test rows came from, where they have a file of their own.
    test_source: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return self.train.rows + self.test.rows

    @property
    def held_out(self) -> NDArray[np.int64]:
        """The positions of the test rows among all rows, ascending; see ``whole``."""
        if self.test_positions is not None:
            return self.test_positions
        import numpy as np

        return np.arange(self.train.rows, self.rows)

    def whole(self) -> Table:
        """Return all rows: as they were before the split, or the training rows before the test rows."""
        import numpy as np

        order = np.empty(self.rows, dtype=np.int64)
        out = np.zeros(self.rows, dtype=bool)
        out[self.held_out] = True
        order[~out] = np.arange(self.train.rows)
        order[out] = np.arange(self.train.rows, self.rows)
        return self.train.joined(self.test, order)

    def columns(self, kind: ColumnType) -> list[str]:
        """Return the names of the features of one kind, in their order."""
        return [name for name, its_kind in self.column_types.items() if its_kind == kind]
