"""The other servers on this database, whoever started them: together they open no more connections than it accepts.

`docker compose up --scale` may start more servers than MLFLOW_SERVERS says, and a server does not see how many. The
database does: the connections of each carry its name.
"""

import socket
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from replica_server import limits
from replica_server.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection

# libpq's variable, and what the names of this stack's servers begin with.
VARIABLE, PREFIX = "PGAPPNAME", "mlflow-server "
# Those that came before this one. Two that start at the same moment agree on which of them that is.
EARLIER = """
SELECT count(*) FROM (
    SELECT application_name AS name, min(backend_start) AS since FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE %(like)s GROUP BY application_name
) AS servers
WHERE (since, name) < (
    SELECT backend_start, application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()
) AND name <> current_setting('application_name')
"""


def name_connections(environment: MutableMapping[str, str]) -> None:
    """Names the connections that this process opens from now on after its container."""
    environment[VARIABLE] = PREFIX + socket.gethostname()


def earlier(database: "connection") -> int:
    """Returns how many servers were on the database before this one, whose connection it is."""
    with database.cursor() as cursor:
        cursor.execute(EARLIER, {"like": f"{PREFIX}%"})
        (found,) = cursor.fetchone() or (0,)
    return int(found)


def check(database: "connection", settings: Settings) -> None:
    """Exits with status 1 and one line when this server is one too many for the database's connections.

    A second server beside one that was started as the only one is warned of: each has its own limits.
    """
    servers = earlier(database) + 1
    most, available = limits.accepted(database)
    needed = servers * limits.of_server(settings.workers) + limits.OTHER_CONNECTIONS
    if servers == 1 or needed <= available:
        return
    found = (
        f"{servers} servers are on this database, which accepts {available} connections (max_connections {most}), "
        f"and they may open {needed}"
    )
    if settings.servers == 1:
        print(f"mlflow: warning: {found}: use compose.servers.yaml (docs/operators/several-servers.md)", flush=True)
        return
    sys.exit(f"error: {found}: start fewer, or raise its max_connections to {needed + limits.SUPERUSER_CONNECTIONS}")
