"""The backend store's address, and a connection to it.

libpq reads where the database is from its own variables (PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE, PGSSLROOTCERT),
so the address here is empty and no password is in a command line, in a log or in `docker inspect`.
"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from replica_server.secret_files import read_secret

if TYPE_CHECKING:
    from psycopg2.extensions import connection

# The driver is named because SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3.
URI = "postgresql+psycopg2://"
PASSFILE = Path("/tmp/pgpass")  # noqa: S108 - a private tmpfs of this container
# What libpq says when trying again would change nothing.
REFUSALS = (
    "authentication failed",
    "does not exist",
    "certificate verify failed",
    "does not match host name",
    "does not support SSL",
    "invalid sslmode value",
    "invalid integer value",
)


def open_password_file(source: Path) -> None:
    """Hands libpq the password in a file.

    libpq wants a file of its own format, that only its user can read: it is written to the container's memory (/tmp).
    Exits with status 1 and one line when the file cannot be read or is empty.
    """
    password = read_secret("the database password", source)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    PASSFILE.unlink(missing_ok=True)
    PASSFILE.touch(mode=0o600)
    PASSFILE.write_text(f"*:*:*:*:{escaped}\n")
    os.environ["PGPASSFILE"] = str(PASSFILE)


def reason(error: Exception) -> str:
    """Returns what a connection failed of, in one line: libpq's word on the last attempt, not its hints."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line for line in reversed(lines) if line.startswith("connection to server")), lines[0])


def connect(wait: float = 60.0) -> "connection":
    """Connects to the database, waiting for it up to `wait` seconds.

    After a restart of the engine all containers start at once, so the database may need a moment.
    Exits with status 1 and one line when it does not answer in time, or at once when it refuses the password, has no
    such database, or shows a certificate that is not to be trusted.
    """
    import psycopg2

    deadline = time.monotonic() + wait
    while True:
        try:
            # A backup's connection is silent for hours, and a network on the way forgets such ones.
            return psycopg2.connect("", connect_timeout=5, keepalives_idle=60)
        except psycopg2.OperationalError as error:
            if any(refusal in str(error) for refusal in REFUSALS) or time.monotonic() > deadline:
                sys.exit(f"error: no connection to the database: {reason(error)}")
            time.sleep(0.2)
