"""Turns whatever reading a file raises into one line that names the file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pandas as pd

from trainer.data.buckets import BucketPath, Place, explained
from trainer.util.errors import InputError
from trainer.util.text import one_line


@contextmanager
def reading(path: Place) -> Iterator[None]:
    """Turn whatever reading a file raises into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such {'object' if isinstance(path, BucketPath) else 'file'}") from None
    except PermissionError as error:
        _refuse_bucket(path, error)
        raise InputError(f"{path}: permission denied; user {current_user()} must be able to read it") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text{_place(path)}; save it as UTF-8") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as comma-separated text: {one_line(error, 200)}") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory") from None
    except (OSError, ValueError, EOFError) as error:  # pyarrow's and zlib's errors are among these
        _refuse_bucket(path, error)
        raise InputError(f"{path}: cannot be read: {one_line(error, 200)}") from None


@contextmanager
def readable(path: Place) -> Iterator[None]:
    """Turn what the operating system says of a path into one line."""
    try:
        yield
    except PermissionError as error:
        _refuse_bucket(path, error)
        raise InputError(f"{path}: permission denied; user {current_user()} must be able to read it") from None
    except OSError as error:
        _refuse_bucket(path, error)
        raise InputError(f"{path}: {error.strerror or one_line(error)}") from None


def _refuse_bucket(path: Place, error: BaseException) -> None:
    """Say what a storage's refusal means, where it is one."""
    if isinstance(path, BucketPath) and isinstance(error, OSError) and (meaning := explained(error)) is not None:
        raise InputError(f"{path}: {meaning}") from None


def _place(path: Place) -> str:
    """Return which line of a file is not UTF-8: errors count from wherever a reader's buffer began."""
    import gzip

    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f" (line {number:,})"
    return ""


def check_unique_names(path: Place, names: Iterable[str]) -> None:
    """Refuse a table in which two columns have the same name."""
    seen: set[str] = set()
    twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} appears more than once; columns need names of their own")


def current_user() -> str:
    """Return the user as whom this process runs, for messages."""
    import os

    return str(os.getuid()) if hasattr(os, "getuid") else "running this"
