"""Where a study keeps its trials: a journal file, or a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def open_storage(place: str) -> BaseStorage:
    """Return the storage at ``place``: a database's URL, or the path of a journal file, which is made.

    Raises:
        TrainerError: It cannot be used; the message names it and the remedy.
    """
    from trainer.tracking.uris import without_credentials

    shown = without_credentials(place)
    try:
        if "://" in place:
            return optuna.storages.RDBStorage(place)
        return optuna.storages.JournalStorage(Journal(place))
    except OSError as error:
        raise InputError(
            f"{shown}: {error.strerror or one_line(error)} (--storage); name a file in a folder that can be written to"
        ) from error
    except ImportError as error:
        raise InputError(f"{shown}: {one_line(error, 200)} (--storage); install the database's driver") from error
    except Exception as error:  # SQLAlchemy's and Optuna's many, and a journal that is none
        raise TrainerError(f"{shown}: cannot be used as a storage (--storage): {one_line(error, 200)}") from error


class Journal(JournalFileBackend):
    """A journal that outlives a full disk.

    A write that fails leaves half a line, and the next one would go on in it: Optuna could read the file no more.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path, self._own_lock = Path(path), JournalFileSymlinkLock(path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write whole lines only, after whole lines only."""
        try:
            if self._half_line():
                self._own_lock.acquire()
                try:
                    # Now no other process is about to write the other half.
                    if half := self._half_line():
                        os.truncate(self._path, self._path.stat().st_size - half)
                finally:
                    self._own_lock.release()
            super().append_logs(logs)
        except OSError as error:
            raise TrainerError(
                f"{self._path}: cannot be written (--storage): {error.strerror or one_line(error)};"
                " the same command goes on from there"
            ) from error

    def _half_line(self) -> int:
        """Return the length of a last line that has no end."""
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return 0
            file.seek(-1, os.SEEK_END)
            if file.read() == b"\n":
                return 0
            file.seek(0)
            return len(file.read().rpartition(b"\n")[2])
