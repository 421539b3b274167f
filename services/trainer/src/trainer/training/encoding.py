"""Turns a table into what LightGBM fits to: categories as codes, numbers as they are.

The variants of a sweep have the rows and their encoding in common, so ``hold_out`` makes both once a process.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.values import ColumnType
from trainer.data.dataset import Dataset, Table
from trainer.training.validation_split import split_validation

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

    from trainer.data.streamed_table import StreamedTable

_ENCODED: tuple[ColumnType, ...] = ("text", "boolean", "unknown")
#: Encoded tables are kept for the next fit if the training table has at most so many values: 64 MiB as numbers.
KEPT_VALUES = 8 << 20


def encoder(dataset: Dataset) -> ColumnTransformer:
    """Return the unfitted transformer that turns texts and booleans into category codes and leaves numbers alone.

    Unseen and missing categories become missing values, which LightGBM treats as it treats a missing value.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    gaps = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan, "encoded_missing_value": np.nan}
    texts, booleans, unknown = (dataset.columns(kind) for kind in _ENCODED)
    truth = np.array([False, True], dtype=object)
    return ColumnTransformer(
        [
            ("text", OrdinalEncoder(**gaps), texts),
            # Named outright: a column that is all true in training still knows false.
            ("boolean", OrdinalEncoder(categories=[truth] * len(booleans), **gaps), booleans),
            # Whatever they may hold one day, the trees do not get to see them.
            *([("unknown", "drop", unknown)] if unknown else []),
        ],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")


def is_small(dataset: Dataset) -> bool:
    """Tell whether the encoded tables of a data set may be kept."""
    return dataset.train.held and dataset.train.rows * len(dataset.column_types) <= KEPT_VALUES


class Encoding:
    """An encoder, and what it makes of tables; ``table(fitting)``, the first to be asked for, fits it.

    Args:
        dataset: What the tables are of.
        fitting: The rows that are fitted to.
        encode: The encoder, if it is already fitted: to more rows than these.
    """

    def __init__(self, dataset: Dataset, fitting: Table, encode: ColumnTransformer | None = None) -> None:
        self.fitting = fitting
        self._fitted = encode is not None
        self.encode = encoder(dataset) if encode is None else encode
        self._keeps = is_small(dataset)
        self._kept: list[tuple[Table, Any]] = []
        self._streamed: dict[int, Any] = {}

    def fit(self) -> ColumnTransformer:
        """Fit the encoder, unless it is fitted, and return it."""
        if not self._fitted and self.fitting.held:
            self.encode.fit(self.fitting.features)
        elif not self._fitted:
            from trainer.training import streamed_fit

            self.encode.fit(streamed_fit.distinct_rows(_streamed(self.fitting)))
        self._fitted = True
        return self.encode

    def table(self, table: Table) -> Any:
        """Return a table's features as the encoder makes them, or what stands for them where it is read in passes."""
        known = next((encoded for kept, encoded in self._kept if kept is table), None)
        if known is not None:
            return known
        fits = table is self.fitting and not self._fitted
        if table.held:
            encode = self.encode.fit_transform if fits else self.encode.transform
            encoded = encode(table.features)
            self._fitted = self._fitted or fits
            if self._keeps:
                self._kept.append((table, encoded))
            return encoded
        from trainer.training import streamed_fit

        if fits:
            self.fit()
        rows = streamed_fit.EncodedRows(_streamed(table), self.encode)
        shown = streamed_fit.stand_in(rows, list(self.encode.get_feature_names_out()))
        self._streamed[id(shown)] = rows
        return shown

    def streaming(self) -> AbstractContextManager[None]:
        """Let LightGBM read tables in passes while the context lasts."""
        if not self._streamed:
            return nullcontext()
        from trainer.training import streamed_fit

        return streamed_fit.streaming(self._streamed)


@dataclass(frozen=True)
class HeldOut:
    """The rows of a data set that are fitted to, with their encoding, and those held out for validation."""

    encoding: Encoding
    validation: Table


#: What was held out last, and of what.
_last: tuple[Dataset, int, float, HeldOut] | None = None


def hold_out(dataset: Dataset, *, seed: int, validation_size: float) -> HeldOut:
    """Return the rows to fit to and those held out for validation, as ``split_validation`` does.

    Asked for the same data set again, it returns the same, so that each table is encoded once.

    Args:
        dataset: What to take the rows of.
        seed: Seeds the choice of rows.
        validation_size: The share of the training rows (0 to 1) that is held out.
    """
    global _last
    if _last is not None and _last[0] is dataset and _last[1:3] == (seed, validation_size):
        return _last[3]
    fitting, validation = split_validation(dataset, seed=seed, validation_size=validation_size)
    made = HeldOut(Encoding(dataset, fitting), validation)
    _last = (dataset, seed, validation_size, made) if is_small(dataset) else None
    return made


def _streamed(table: Table) -> StreamedTable:
    from trainer.data.streamed_table import StreamedTable

    assert isinstance(table, StreamedTable)  # noqa: S101 - tells the type checker
    return table
