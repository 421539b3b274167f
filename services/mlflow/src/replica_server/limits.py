"""How much this server takes on at once: each number, and which follows from which.

Too small a limit behind a larger one loses data: 40 threads before a pool of 15 connections waited for each other. So
whatever bounds something else is computed here, and compose.yaml's `max_connections` and `pids_limit` are held to it
(test_limits.py). docs/operators/capacity.md explains the table.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection

BLOCK = 2**20  # bytes
# Seconds in which a client has to send or take something while others wait for its place; and in any case.
PATIENCE_WHILE_OTHERS_WAIT = 10.0
PATIENCE = 300.0
# Seconds for which an idle connection stays open: longer than clients and the proxy (120) keep theirs, because a
# request that is sent while the server closes the connection is lost. An idle connection takes a few KiB.
KEEP_ALIVE = 180

# -- MLflow's WSGI part: one thread for each request that it works on. Its Python code uses one processor in any case.
WORKERS_SETTING = "MLFLOW_WORKERS"
WORKERS = 12
# Answers that wait for the storage (the UI's downloads and lists of artifacts), and those made in pieces (searches.py).
# They have threads of their own: a storage that hangs, or a slow reader, does not keep runs from being tracked.
FROM_STORAGE = 16
IN_PIECES = 16
# For whatever the web framework hands to a thread of the same pool.
FRAMEWORK = 4

# -- Artifacts that pass through: one thread each. An upload of more than a block holds two parts in memory.
SMALL_UPLOADS = 16
LARGE_UPLOADS = 4
DOWNLOADS = 32

# -- Request bodies, in bytes: the largest as received and as unpacked; the part that anyone may keep in memory; how
# many may keep up to a block; and how many of more than a block are worked on at a time.
BODY_SETTING = "MLFLOW_MAX_BODY"
LARGEST_BODY = 16 * 2**20
SMALL_BODY = 2**16
ARRIVING = 48
LARGE_BODIES = 2
# JSON: how deep (protobuf, which reads most of it, goes no deeper), and how many values: one takes up to 100 bytes.
DEEPEST = 100
MOST_VALUES = 500_000

# -- The database. MLflow opens a session within another's: four for a log_batch that carries the run's name.
SESSIONS = 4
# Threads beside the workers that use the database at the same moment: traces by OpenTelemetry, and MLflow's own.
ASYNCHRONOUS = 2
BACKGROUND = 2
# How many of its connections the server keeps when they are idle. Opening one costs as much as a small request.
KEPT_CONNECTIONS = 16
# How many servers there are (compose.servers.yaml): each is one process, with a pool of its own. `edge` has one place
# more, for the server that takes another's place.
SERVERS_SETTING = "MLFLOW_SERVERS"
MOST_SERVERS = 7
# Those by which people are looked up (AUTH=on), each with a thread of its own.
PEOPLE_CONNECTIONS = 2
# And one by which the server is told that users or tokens have changed.
LISTENING = 1
# Health checks, a migration, a backup and a garbage collection; and what PostgreSQL keeps for its superuser.
OTHER_CONNECTIONS = 5
SUPERUSER_CONNECTIONS = 3

# -- The record of changes: days for which a row cannot be removed.
LEAST_RECORD_DAYS = 30
#: The longest that a token lasts.
MOST_TOKEN_DAYS = 3650

# -- Threads and processes, which `pids_limit` counts together. A thread of the S3 client submits an upload, another
# sends it (of a large one: two); a download of the UI's has one more.
S3_THREADS = 2 * SMALL_UPLOADS + 3 * LARGE_UPLOADS + FROM_STORAGE
# MLflow's pools: the demo's evaluation and the export of its traces (MLFLOW_POOLS), webhooks, searches for traces.
MLFLOW_THREADS = 48
# The main thread and the one that watches the storage's address; the health check; someone who looks around.
OTHER_PROCESSES = 16

# How large MLflow makes its pools, by its own variables.
MLFLOW_POOLS = {
    "MLFLOW_ASYNC_TRACE_LOGGING_MAX_WORKERS": 4,
    "MLFLOW_GENAI_EVAL_MAX_SCORER_WORKERS": 4,
    "MLFLOW_GENAI_EVAL_MAX_WORKERS": 4,
    "MLFLOW_SEARCH_TRACES_MAX_THREADS": 4,
    "MLFLOW_TRACE_ROLLUPS_MAX_WORKERS": 1,
    "MLFLOW_WEBHOOK_DELIVERY_MAX_WORKERS": 4,
    # NumPy's, which would have one thread for each processor of the machine and has nothing to do here.
    "OPENBLAS_NUM_THREADS": 1,
}


def pool(workers: int = WORKERS) -> int:
    """Returns the size of the server's pool of connections.

    It is the smallest with which nobody waits for ever: when every thread holds all sessions but its request's last,
    one connection is left, with which they get their last session one after the other.
    """
    return (workers + ASYNCHRONOUS + BACKGROUND) * (SESSIONS - 1) + 1


def of_server(workers: int = WORKERS) -> int:
    """Returns how many connections one server opens at most."""
    return pool(workers) + PEOPLE_CONNECTIONS + LISTENING


def connections(workers: int = WORKERS, servers: int = 1) -> int:
    """Returns the `max_connections` that PostgreSQL needs.

    Of several servers, each is replaced by another one before it ends: so there is one more for a while.
    """
    at_once = servers if servers == 1 else servers + 1
    return at_once * of_server(workers) + OTHER_CONNECTIONS + SUPERUSER_CONNECTIONS


def framework_threads(workers: int = WORKERS) -> int:
    """Returns the size of the web framework's pool of threads."""
    return workers + FROM_STORAGE + IN_PIECES + FRAMEWORK


def transfer_threads() -> int:
    """Returns the size of the pool of threads through which artifacts pass."""
    return SMALL_UPLOADS + LARGE_UPLOADS + DOWNLOADS


def processes(workers: int = WORKERS) -> int:
    """Returns how many threads and processes there are at most: the `pids_limit` that the container needs."""
    own = framework_threads(workers) + transfer_threads() + ASYNCHRONOUS + PEOPLE_CONNECTIONS
    return own + S3_THREADS + MLFLOW_THREADS + OTHER_PROCESSES


def environment(workers: int = WORKERS) -> dict[str, str]:
    """Returns the variables by which MLflow and its libraries are told these numbers."""
    kept = min(KEPT_CONNECTIONS, pool(workers) - 1)
    sizes = MLFLOW_POOLS | {
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": kept,
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": pool(workers) - kept,
    }
    return {name: str(size) for name, size in sizes.items()}


def accepted(database: "connection") -> tuple[int, int]:
    """Returns PostgreSQL's `max_connections`, and how many of them are left for others than its superuser."""
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    with database.cursor() as cursor:
        cursor.execute("SELECT name, setting::int FROM pg_settings WHERE name IN %s", (names,))
        settings = dict(cursor.fetchall())
    return settings["max_connections"], settings["max_connections"] - sum(settings.get(name, 0) for name in names[1:])


def check(database: "connection", workers: int = WORKERS, servers: int = 1) -> None:
    """Exits with status 1 and one line when PostgreSQL accepts fewer connections than the servers may open."""
    most, available = accepted(database)
    if servers > 1:
        needed = connections(workers, servers) - SUPERUSER_CONNECTIONS
        if available < needed:
            sys.exit(
                f"error: the database accepts {available} connections (max_connections {most}), and {servers} servers "
                f"of {workers} workers, with one more while one is replaced, need {needed}: raise its max_connections "
                f"to {connections(workers, servers)}, or lower {SERVERS_SETTING} or {WORKERS_SETTING}"
            )
    elif available < pool(workers):
        fitting = max((available - 1) // (SESSIONS - 1) - ASYNCHRONOUS - BACKGROUND, 0)
        advice = f", or set {WORKERS_SETTING} to {fitting} or less" if fitting else ""
        sys.exit(
            f"error: the database accepts {available} connections (max_connections {most}), and "
            f"{workers} workers need {pool(workers)}: raise its max_connections to {connections(workers)}{advice}"
        )
