"""Messages stay on one line, whatever they quote."""

from __future__ import annotations

import errno
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from trainer.tracking.errors import tracking_error
from trainer.util.errors import InputError, TrackingError, TrainerError, downloading
from trainer.util.text import one_line

from ..conftest import Answer


def test_message_is_one_short_printable_line() -> None:
    """Message is one printable line of limited length."""
    assert one_line("a\n  b\tc\x1b[31m") == "a b c�[31m"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("x" * 600) == "x" * 499 + "…"
    assert one_line("see http://me:hush@host:1/x and a@b.example") == "see http://host:1/x and a@b.example"
    assert str(InputError("two\nlines")) == "two lines"
    assert one_line("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT INTO x]").endswith(
        "disk is full"
    )
    enforced = (
        "MlflowException: Failed to enforce schema of data ' a\n0 1' with schema '[a: any]'. Error: no column 'b'"
    )
    assert one_line(enforced, 40) == "MlflowException: no column 'b'"


def test_exit_codes_tell_input_from_the_rest() -> None:
    assert InputError("").exit_code == 2
    assert TrackingError("").exit_code == TrainerError("").exit_code == 1


def test_error_travels_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(InputError("why")))  # noqa: S301 - made here
    assert (type(copy), str(copy)) == (InputError, "why")


def chained(cause: OSError) -> Exception:
    try:
        try:
            raise cause
        except OSError as error:
            raise MlflowException("The model could not be serialized; try another format") from error
    except MlflowException as error:
        return error


def test_full_disk_is_always_named() -> None:
    """Full disk is named whatever a library takes it for."""
    full = chained(OSError(errno.ENOSPC, "No space left on device"))
    assert str(tracking_error(full)).startswith(
        f"no space left on the disk (temporary files go to {tempfile.gettempdir()};"
    )
    other = chained(OSError(errno.EIO, "Input/output error"))
    assert str(tracking_error(other)) == "tracking failed: The model could not be serialized; try another format"


def test_full_disk_of_temporary_files_is_one_line(
    trainer: Callable[..., Answer], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    answer = trainer("--n-estimators", 2)
    assert (answer.code, answer.error.partition(" (")[0]) == (1, "no space left on the disk")


def test_download_that_finds_no_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def download() -> None:
        with downloading(tmp_path):
            raise MlflowException("Failed to download, please ensure that the path is correct")

    with pytest.raises(MlflowException, match="the path is correct"):
        download()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TrackingError, match="no space left on the disk"):
        download()
