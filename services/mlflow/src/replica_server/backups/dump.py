"""The database's part of a snapshot: written by pg_dump, and read back once before it counts."""

import subprocess
from pathlib import Path

from replica_server.backups.errors import BackupError
from replica_server.text import printable


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line] or [f"exit code {done.returncode}"]
        raise BackupError(f"the database could not be dumped: {printable(lines[0])}")


def write(file: Path) -> None:
    """Writes the database that libpq's variables name to a file."""
    _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")
    _run("pg_restore", "--file=/dev/null", str(file))
