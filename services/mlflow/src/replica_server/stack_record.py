"""What the database knows of its stack: an id and the version of its files, in a schema beside MLflow's tables.

It goes along with the database: a stack that was restored on another machine is the same stack, and a dump brings the
version that wrote it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor


@dataclass(frozen=True)
class StackRecord:
    """The record.

    Attributes:
        id: The stack's id, which stays.
        version: The version of the files with which it was started last; empty before it was.
    """

    id: str
    version: str


def read(cursor: "cursor") -> StackRecord:
    """Returns the database's record, which is made where there is none."""
    cursor.execute("SELECT to_regclass('replica.stack')")
    if cursor.fetchone() == (None,):
        cursor.execute("CREATE SCHEMA IF NOT EXISTS replica")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS replica.stack ("
            "single boolean PRIMARY KEY DEFAULT true CHECK (single),"
            " id uuid NOT NULL DEFAULT gen_random_uuid(),"
            " version text NOT NULL DEFAULT '')"
        )
    cursor.execute("INSERT INTO replica.stack DEFAULT VALUES ON CONFLICT DO NOTHING")
    cursor.execute("SELECT id::text, version FROM replica.stack")
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("the stack's record is gone again")
    return StackRecord(*row)


def write_version(cursor: "cursor", version: str) -> None:
    """Records the version of the files."""
    cursor.execute("UPDATE replica.stack SET version = %s WHERE version <> %s", (version, version))
