"""Where the server collects what MLflow does not pass through, such as an artifact that the UI downloads: on disk.

The container's /tmp is in memory. The folder is a volume, which outlives a server that was killed: so each server locks
a folder of its own in it, and removes those that nobody holds any more.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "server-"


def _lock(folder: Path) -> int | None:
    """Locks a folder for as long as this process lives; returns None when another process holds it, or it is gone."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def prepare() -> Path:
    """Makes Python's temporary files go to a folder of this process's own below TMPDIR, and removes abandoned ones."""
    place = Path(tempfile.gettempdir())
    own = Path(tempfile.mkdtemp(prefix=f".new-{PREFIX}", dir=place))
    _lock(own)
    # Known by its name only now that it is locked.
    own = own.rename(place / own.name.removeprefix(".new-"))
    for folder in place.glob(f"{PREFIX}*"):
        if folder != own and (handle := _lock(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)
    tempfile.tempdir = str(own)
    return own
