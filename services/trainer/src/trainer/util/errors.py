"""The errors that commands report. Their exit code says what to look at: input (2), a refusal (3), or the rest (1)."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.util.text import one_line

#: Bytes. A download that failed for want of room has used up what there was.
_ROOM = 1 << 16


class TrainerError(Exception):
    """A failure that is reported as one line, without a traceback."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, limit=2_000))


class InputError(TrainerError):
    """Something the user gave (data, parameters, a variants file) cannot be used; the message says what to change."""

    exit_code = 2


class TrackingError(TrainerError):
    """The tracking server or store cannot be reached, refuses, or fails."""


class SweepError(TrainerError):
    """At least one variant of a sweep failed; the others are finished and reported."""


class RefusedError(TrainerError):
    """A version of a model may not become champion; nothing went wrong, and nothing was changed."""

    exit_code = 3


class PrunedError(TrainerError):
    """A trial was ended early because others do better; ``loss`` is the validation loss after each iteration."""

    def __init__(self, loss: list[float]) -> None:
        self.loss = loss
        self.run_id: str | None = None
        super().__init__(f"pruned after {len(loss)} iterations")


def disk_full(error: BaseException) -> str | None:
    """Return the message for a full disk if that is what an exception comes from: libraries guess at other reasons."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno == errno.ENOSPC:
            folder = tempfile.gettempdir()
            return f"no space left on the disk (temporary files go to {folder}; TMPDIR names another folder)"
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def downloading(folder: Path) -> Iterator[None]:
    """Say that the disk is full if that is why what happens inside fails.

    MLflow's downloads drop the exception: they take it for a wrong path, or tell it in the midst of much else.

    Args:
        folder: Where what is downloaded goes, among the temporary files.

    Raises:
        TrackingError: There is no room left in the folder.
    """
    try:
        yield
    except Exception as error:
        try:
            (folder / "room").write_bytes(bytes(_ROOM))
        except OSError as no_room:
            if (full := disk_full(no_room)) is not None:
                raise TrackingError(full) from error
        raise
