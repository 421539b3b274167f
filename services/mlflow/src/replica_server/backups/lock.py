"""The lock in the database that lets either a backup or garbage collection work, and only one of them at a time.

An artifact that a snapshot's rows name must not be removed before it is copied.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection

# PostgreSQL's advisory locks are numbers: this one is arbitrary.
LOCK = 5_000_3_18
OTHERS = "another backup, or garbage collection, is at work on this stack: try again when it has ended"


LOST = (
    "the connection to the database was lost meanwhile, so garbage collection may have removed what the snapshot names:"
    " try again"
)


def take(connection: "connection") -> bool:
    """Takes the lock until the connection ends; returns False where another process has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
        return cursor.fetchone() == (True,)


def is_held(connection: "connection") -> bool:
    """Tells whether the connection is still open, and so the lock still held."""
    from psycopg2 import Error

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True
