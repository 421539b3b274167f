"""Brings the database to the schema that this MLflow wants, before any server starts.

Safe to run at any time and several times at once: a lock in the database lets one work while the others wait.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from replica_server import database, settings, stack_record
from replica_server.people import schema as people
from replica_server.text import one_line
from replica_server.version import VERSION, is_newer

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

# An arbitrary number that says what the lock is for.
LOCK = 5_000_3_17
REVISION_FILE = Path(__file__).parents[1] / "schema-revision"


def current_revision(cursor: "cursor") -> str | None:
    """Returns the schema revision of the database; None for one that MLflow has never used."""
    cursor.execute("SELECT to_regclass('alembic_version')")
    if cursor.fetchone() == (None,):
        return None
    cursor.execute("SELECT version_num FROM alembic_version")
    row = cursor.fetchone()
    return row[0] if row else None


def upgrade() -> None:
    """Runs `mlflow db upgrade`, and creates the first rows that every server expects (the default experiment).

    Exits with status 1 and one line when the schema is a newer MLflow's, or the database fails.
    """
    import mlflow.db
    from alembic.util import CommandError
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import SQLAlchemyError

    try:
        mlflow.db.upgrade.main([database.URI], standalone_mode=False)
        # A server creates the default experiment when it finds none, and two that start together would both try.
        SqlAlchemyStore(database.URI, settings.current().artifact_root)  # type: ignore[no-untyped-call]
    except CommandError as error:
        sys.exit(
            f"migrate: error: {one_line(str(error))}: the schema is a newer MLflow's; "
            "run that version, or restore a backup from before it (scripts/restore)"
        )
    except SQLAlchemyError as error:
        sys.exit(f"migrate: error: the upgrade failed: {one_line(str(error))}")


def check_version(recorded: str) -> None:
    """Exits with status 1 and one line when the data were written by a later version of this stack."""
    if is_newer(recorded):
        sys.exit(
            f"migrate: error: the data belong to version {recorded} of this stack, and these files are {VERSION}: "
            "use that version, or restore a backup from before it (scripts/restore)"
        )


def create_people(cursor: "cursor") -> None:
    """Creates the tables of people, beside MLflow's, with AUTH=on."""
    if settings.current().auth:
        people.create(cursor)


def main() -> None:
    """Migrates when needed; says what it found and did.

    With --same-schema it exits with status 1 and one line instead: servers of the former version are still running.
    """
    same_schema = "--same-schema" in sys.argv[1:]
    wanted = REVISION_FILE.read_text().strip()
    database.open_password_file(settings.current().password_file)
    connection = database.connect()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        check_version(stack_record.read(cursor).version)
        found = current_revision(cursor)
        if same_schema and found != wanted:
            sys.exit(
                f"migrate: error: the schema is at {found}, and this version wants {wanted}: the running servers would "
                "fail on it; scripts/upgrade stops them for the migration"
            )
        if found == wanted:
            create_people(cursor)
            stack_record.write_version(cursor, VERSION)
            print(f"migrate: the schema is at {wanted}: nothing to do")
            return
        print(f"migrate: the schema is at {found or 'nothing (an empty database)'}; upgrading to {wanted}")
        upgrade()
        found = current_revision(cursor)
        if found != wanted:
            sys.exit(f"migrate: error: the schema is at {found} after the upgrade, not at {wanted}")
        create_people(cursor)
        stack_record.write_version(cursor, VERSION)
        print(f"migrate: the schema is at {wanted}")
