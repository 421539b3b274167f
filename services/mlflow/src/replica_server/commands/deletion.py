"""What commands that delete something share: their identity, the database, and the lock (backups/lock.py)."""

import sys
from typing import TYPE_CHECKING

from replica_server import database, settings
from replica_server.artifacts.destination import read_destination
from replica_server.backups import lock

if TYPE_CHECKING:
    from psycopg2.extensions import connection

KEY = "GC_KEY_FILE"


def begin(command: str, *, lock_needed: bool) -> tuple[str, "connection"]:
    """Returns the storage that the server uses, and a connection to the database.

    Args:
        command: What the messages call the command.
        lock_needed: Take the lock, which lasts until the connection ends.

    Exits with status 1 and one line when the identity may not delete, the database does not answer, or another has the
    lock.
    """
    destination = read_destination()
    check_identity(destination)
    database.open_password_file(settings.current().password_file)
    opened = database.connect()
    opened.autocommit = True
    # What a restoration puts back has no row until its end.
    if lock_needed and not lock.take(opened):
        sys.exit(f"{command}: error: {lock.OTHERS}; nothing was removed")
    return destination, opened


def check_identity(destination: str) -> None:
    """Exits with status 1 and one line when no key has been given of an identity that may delete, or none works."""
    from replica_server.artifacts import google_account

    if not destination.startswith("gs://"):
        return

    try:
        # The account attached to the machine is the server's, which may not delete.
        if not google_account.read_key(KEY):
            page = "docs/operators/garbage-collection.md"
            sys.exit(f"gc: error: no key: {KEY} names the key of the account that may delete ({page})")
        google_account.find(KEY)
    except google_account.AccountError as error:
        sys.exit(f"gc: error: {error}")
