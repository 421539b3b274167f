"""The backend store's address, and a connection to it.

libpq reads where the database is from its own variables (PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE, PGSSLROOTCERT),
so the address here is empty and no password is in a command line, in a log or in `docker inspect`.
"""

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def prepare() -> None:
    """Checks the settings, and lets libpq find the password. Exits with status 1 and one line when either cannot be."""
    check_tls()
    open_password_file()


def open_password_file() -> None:
    """Hands libpq the password in the file that POSTGRES_PASSWORD_FILE names.

    libpq wants a file of its own format, that only its user can read: it is written to the container's memory (/tmp).
    Exits with status 1 and one line when the file cannot be read or is empty.
    """
    source = Path(os.environ["POSTGRES_PASSWORD_FILE"])
    try:
        password = source.read_text().rstrip("\n")
    except OSError as error:
        sys.exit(f"error: the database password cannot be read: {source}: {error.strerror}")
    if not password:
        sys.exit(f"error: the database password is empty: {source}")
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    PASSFILE.unlink(missing_ok=True)
    PASSFILE.touch(mode=0o600)
    PASSFILE.write_text(f"*:*:*:*:{escaped}\n")
    os.environ["PGPASSFILE"] = str(PASSFILE)


def check_tls() -> None:
    """Exits with status 1 and one line when TLS is required (an external server) and the settings would do without.

    `require` is not enough: it encrypts, but to whoever answers.
    """
    mode = os.environ.get("PGSSLMODE", "")
    if os.environ.get("POSTGRES_TLS_REQUIRED") == "true" and mode not in ("verify-ca", "verify-full"):
        sys.exit(f"error: an external database needs POSTGRES_SSLMODE verify-ca or verify-full, not {mode or 'none'}")


def log_outages_briefly() -> None:
    """Makes one line of an answer that breaks off because database or storage fails: uvicorn's is a traceback."""

    def shorten(record: logging.LogRecord) -> bool:
        from mlflow.exceptions import MlflowException

        error = record.exc_info[1] if record.exc_info else None
        found = error.subgroup(MlflowException) if isinstance(error, BaseExceptionGroup) else error
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if isinstance(found, MlflowException):
            said = " ".join(found.message.split())[:300]
            record.msg, record.args, record.exc_info = f"error: an answer broke off: {said}", (), None
        return True

    logging.getLogger("uvicorn.error").addFilter(shorten)


def prepare_stores() -> None:
    """Has MLflow's stores share one pool of connections, and answer passing shortages and unusable text as such.

    The stores for tracking, the registry and jobs would open a pool each, and could ask for three times as many
    connections. The names are MLflow's own (test_limits.py notices when they change).
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST
    from mlflow.store.db import utils
    from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Engine, QueuePool, event, exc
    from sqlalchemy.pool import ConnectionPoolEntry

    class Pool(QueuePool):
        """A pool that fails as a database does that is not there: MLflow answers 503, and clients try again."""

        def _do_get(self) -> ConnectionPoolEntry:
            try:
                return super()._do_get()
            except exc.TimeoutError as error:
                raise exc.OperationalError("no connection was free in time", {}, error) from error

    for store in (Registry, SqlAlchemyJobStore):
        store._engine_map = SqlAlchemyStore._engine_map
    os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = QueuePool.__name__
    setattr(utils, QueuePool.__name__, Pool)

    @event.listens_for(Engine, "handle_error")
    def _(context: Any) -> None:
        # The driver's, of NUL and of half a character; PostgreSQL has not been asked.
        if type(context.original_exception) in (ValueError, UnicodeEncodeError):
            raise MlflowException(
                f"The request holds text that the database cannot keep: {context.original_exception}",
                error_code=BAD_REQUEST,
            )


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
            return psycopg2.connect("", connect_timeout=5)
        except psycopg2.OperationalError as error:
            if any(refusal in str(error) for refusal in REFUSALS) or time.monotonic() > deadline:
                sys.exit(f"error: no connection to the database: {reason(error)}")
            time.sleep(0.2)
