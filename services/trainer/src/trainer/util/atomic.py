"""Writes a file whole or not at all: until its last byte is on the disk, its name leads to the former file or none."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line


@contextmanager
def atomic_file(path: Path, option: str) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block inside succeeds, and is removed when it fails.

    On Linux the file has no name until then, so that not even SIGKILL or a power cut leaves a part of it behind.

    Args:
        path: The file to write; one that exists is replaced and keeps its permissions.
        option: How messages name the option that gave the path.

    Raises:
        InputError: There can be no such file.
        TrainerError: The disk is full, or fails.
    """
    # What a link points to is replaced, not the link.
    target = Path(os.path.realpath(path))
    mode = _check(path, target, option)
    try:
        descriptor, temporary = _open(target)
    except PermissionError:
        who = f" by user {os.getuid()}, as whom this runs" if hasattr(os, "getuid") else ""
        raise InputError(f"{path}: the folder {target.parent} is not writable{who} ({option})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or one_line(error)} ({option})") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            try:
                stream.flush()
                if mode is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
                if temporary is None:
                    temporary = _name(descriptor, target)
                temporary.replace(target)
                temporary = None
                _sync_folder(target.parent)
            except OSError as error:
                raise TrainerError(f"{path}: cannot be written: {error.strerror or one_line(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _check(path: Path, target: Path, option: str) -> int | None:
    """Return the permissions of the file that will be replaced, None where there is none."""
    try:
        status = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise InputError(f"{path}: there is no folder {target.parent} ({option})") from None
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or one_line(error)} ({option})") from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
        raise InputError(f"{path}: is {what}; name a file to write ({option})")
    return stat.S_IMODE(status.st_mode)


def _open(target: Path) -> tuple[int, Path | None]:
    """Return a new file beside ``target``, and its name: None where the system can do without one."""
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        # Some file systems (NFS, older overlays) cannot: they answer EOPNOTSUPP, EISDIR or EINVAL.
        with contextlib.suppress(OSError):
            return os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666), None
    temporary = _beside(target)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)
    return os.open(temporary, flags, 0o666), temporary


def _name(descriptor: int, target: Path) -> Path:
    """Give an unnamed file a name for the moment before it is moved: a link cannot replace a file, a move can."""
    temporary = _beside(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        # Only with a folder's descriptor does Python ask for the link to be followed to the file itself.
        os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
    return temporary


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.part")


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
