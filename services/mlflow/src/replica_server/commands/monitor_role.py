"""Makes the database role that reads PostgreSQL's statistics for monitoring: it sees them, and no table of MLflow's.

Safe to run at any time: the role that is there gets the password of now.
"""

import sys
from pathlib import Path

from replica_server import database, settings
from replica_server.text import one_line

ROLE = "monitor"
PASSWORD = Path("/run/secrets/monitor/password")
# The exporter opens one connection, and a second while the first is lost.
CONNECTIONS = 2


def main() -> None:
    """Makes the role; exits with status 1 and one line when the database refuses."""
    import psycopg2
    from psycopg2 import sql
    from psycopg2.extensions import encrypt_password

    database.open_password_file(settings.current().password_file)
    try:
        password = PASSWORD.read_text().rstrip("\n")
    except OSError as error:
        sys.exit(f"monitor-role: error: {PASSWORD} cannot be read: {error.strerror}")
    role = sql.Identifier(ROLE)
    try:
        with database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE ROLE {}").format(role))
            # Encrypted here: the database's log may show statements.
            hashed = encrypt_password(password, ROLE, connection, "scram-sha-256")
            rights = (
                "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT %s PASSWORD %s"
            )
            cursor.execute(sql.SQL(f"ALTER ROLE {{}} {rights}").format(role), (CONNECTIONS, hashed))
            cursor.execute(sql.SQL("GRANT pg_monitor TO {}").format(role))
    except psycopg2.Error as error:
        sys.exit(f"monitor-role: error: the database refuses: {one_line(str(error))}")
    print(f"monitor-role: {ROLE} may read the database's statistics")
