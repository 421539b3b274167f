"""Starts the tracking server as one process.

`mlflow server` would keep a second process (the command line's, 180 MiB) beside the server's and import MLflow twice.
Here uvicorn runs MLflow's application directly (application.py), in the environment that `mlflow server` gives its
workers.
"""

import os
import sys
import warnings
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

# MLflow checks whether uvicorn is loaded to find out if it is imported as a server: so before MLflow.
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from replica_server import database, keys, limits, logs, mlflow_environment, neighbours
from replica_server.artifacts import destination as address_file
from replica_server.artifacts import temporary
from replica_server.draining import Draining, Server
from replica_server.people import schema
from replica_server.settings import current
from replica_server.version import VERSION

if TYPE_CHECKING:
    from psycopg2.extensions import connection


def warn_of_no_admin(connection: "connection") -> None:
    """Says in one line that nobody may give roles over HTTP yet, and by which commands somebody gets to."""
    with connection.cursor() as cursor:
        if not schema.has_admin(cursor):
            print(
                "mlflow: warning: nobody has the role admin yet: docker compose exec proxy user first-admin,"
                " or user add NAME --role admin",
                flush=True,
            )


def main() -> None:
    """Waits for the database, opens the store, serves until SIGTERM."""
    settings = current()
    destination = address_file.read_destination()
    database.open_password_file(settings.password_file)
    keys.hand_over()
    temporary.prepare()
    neighbours.name_connections(os.environ)
    # Open until the server has others, by which its neighbours count it.
    connection = database.connect()
    connection.autocommit = True
    limits.check(connection, settings.workers, settings.servers)
    neighbours.check(connection, settings)
    keys.warn_of_lost_secrets(connection)
    if settings.auth:
        warn_of_no_admin(connection)
    logs.shorten_broken_answers()
    mlflow_environment.prepare(os.environ, settings, destination)
    # MLflow's to mend, and otherwise the log's first lines.
    warnings.filterwarnings("ignore", message="starlette.middleware.wsgi is deprecated")

    from replica_server import application
    from replica_server.monitoring import port

    registry = port.new_registry() if settings.metrics else None
    server = Draining(application.create(settings, destination, registry))
    connection.close()
    if registry is not None:
        port.open_port(registry)
    address_file.end_when_changed(destination)
    root = mlflow_environment.artifact_root(settings, destination)
    print(f"mlflow: version {VERSION} of this stack, MLflow {version('mlflow')}", flush=True)
    print(
        f"mlflow: artifacts are in {destination}; new experiments keep them in {root}; "
        f"a name that is written again {'is replaced' if settings.overwrite else 'is refused'}",
        flush=True,
    )
    if settings.auth:
        guarded = ", ".join(sorted(settings.guarded_aliases))
        print(f"mlflow: every request needs a login; guarded aliases: {guarded}", flush=True)
    # One worker: two would need twice the memory, and PostgreSQL and the bucket do the waiting in threads.
    config = uvicorn.Config(
        server,
        host="0.0.0.0",  # noqa: S104 - in a container
        port=5000,
        access_log=settings.access_log,
        timeout_keep_alive=limits.KEEP_ALIVE,
    )
    running = Server(config, server, settings.drain)
    with suppress(KeyboardInterrupt):
        running.run()
    if not running.started:
        sys.exit(STARTUP_FAILURE)
