"""What all tables that are read in chunks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence

import pyarrow as pa

from trainer.config.csv_form import CsvForm
from trainer.data.arrow_columns import Feature, Type
from trainer.data.buckets import Place
from trainer.data.table_reader import no_name, unnamed_columns, unnamed_warnings


class TableSource(ABC):
    """A table in a file. ``names`` are its columns, ``from_text`` says that it is a file of text."""

    from_text: bool
    #: By which the share of what was read is weighed: bytes or rows.
    size: int
    form: CsvForm = CsvForm()

    def __init__(self, path: Place, names: Sequence[str]) -> None:
        self.path = path
        self.names = list(names)

    @abstractmethod
    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read the columns of ``features`` and ``copied``, chunk by chunk; only features have types that are known."""

    def named(self, warnings: list[str]) -> list[str]:
        """Return the names of the columns that are data: no indexes that pandas wrote, no empty ones without a name.

        Args:
            warnings: Takes the warnings on what is left out.

        Raises:
            InputError: A column without a name has a value.
        """
        indexes, unnamed = unnamed_columns(self.names)
        if unnamed and (place := self._filled(unnamed)) is not None:
            raise no_name(self.path, place)
        warnings += unnamed_warnings(self.path, indexes, unnamed)
        return [name for place, name in enumerate(self.names) if place >= indexes and place not in unnamed]

    @abstractmethod
    def _filled(self, places: Sequence[int]) -> int | None:
        """Return which of some columns, given by their places, has a value; None where none has."""

    @abstractmethod
    def share(self, rows: int) -> float:
        """Return how much of the file was read (0 to 1) when ``rows`` rows were."""

    def types(self, names: Sequence[str]) -> dict[str, Type]:
        """Return types of columns that nothing is known of, decided by all rows; without a value, a number."""
        return {name: kind or "number" for name, kind in self.found_types(names).items()}

    @abstractmethod
    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return these types; None of a column without a value."""

    def place(self, row: int) -> tuple[Place, int]:
        """Return the file that a row is in, and how many of its rows come before; of those that were read so far."""
        return self.path, row

    def check_copied(self, copied: Sequence[str]) -> None:  # noqa: B027 - one file is like itself
        """Check that columns which are copied are of one type in all files.

        Raises:
            InputError: They are not.
        """
