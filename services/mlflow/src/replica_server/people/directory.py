"""Asks the database about people; cache.py keeps what it says.

It has connections of its own, on threads of its own: a server whose other connections are all taken still knows who
may do what. Each statement is a transaction.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from replica_server import database, limits
from replica_server.text import one_line

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Rows = list[tuple[Any, ...]]
Found = TypeVar("Found")
# Seconds for a connection; milliseconds for a statement, and for a database that has gone silent.
CONNECT, STATEMENT, SILENCE = 5, 5000, 10_000
# What PostgreSQL tells servers by when users or tokens change (schema.py).
LISTEN = "LISTEN people"
# Seconds of silence after which the other side has to show that it is still there, and how often it may fail to.
IDLE, TRIES = 2, 3
# Seconds for an answer in all: a database that hangs while its machine still takes packets has no other end.
PATIENCE = 20.0


class UnavailableError(MlflowException):
    """The database cannot be asked, so the request is refused."""

    def __init__(self, error: Exception) -> None:
        said = one_line(database.reason(error))
        super().__init__(
            f"Nobody is let in while permissions cannot be looked up: {said}", error_code=TEMPORARILY_UNAVAILABLE
        )


class Directory:
    """Asks the database about people."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(limits.PEOPLE_CONNECTIONS, "people")
        self._of_thread = threading.local()

    def ask(self, statement: str, *values: object) -> Rows:
        """Returns a statement's rows; raises UnavailableError. For threads: it waits."""
        running = self._threads.submit(self._run, statement, values)
        try:
            return running.result(PATIENCE)
        except TimeoutError:
            # What has not begun does not wait any more.
            running.cancel()
            raise self._hangs() from None

    async def find(self, statement: str, *values: object) -> Rows:
        """Returns a statement's rows; raises UnavailableError. For the event loop."""
        return await self._in_thread(self._run, statement, values)

    async def listen(self) -> "connection":
        """Returns a connection on which PostgreSQL tells of changes; raises UnavailableError. For the event loop."""
        return await self._in_thread(self._listen)

    async def _in_thread(self, work: Callable[..., Found], *values: object) -> Found:
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)
        except TimeoutError:
            raise self._hangs() from None

    @staticmethod
    def _hangs() -> UnavailableError:
        return UnavailableError(TimeoutError(f"the database has not answered within {PATIENCE:g} seconds"))

    def _run(self, statement: str, values: tuple[object, ...]) -> Rows:
        kept: connection | None = getattr(self._of_thread, "connection", None)
        try:
            if kept is not None and not kept.closed:
                try:
                    return self._execute(kept, statement, values)
                except (psycopg2.OperationalError, psycopg2.InterfaceError):
                    # PostgreSQL may have started anew since it was opened: once more, by another one.
                    kept.close()
            fresh = self._connect()
            self._of_thread.connection = fresh
            return self._execute(fresh, statement, values)
        except psycopg2.Error as error:
            if isinstance(error, psycopg2.IntegrityError | psycopg2.DataError):
                raise
            raise UnavailableError(error) from error

    @staticmethod
    def _connect(**options: Any) -> "connection":
        fresh: connection = psycopg2.connect(
            "",
            connect_timeout=CONNECT,
            tcp_user_timeout=SILENCE,
            options=f"-c statement_timeout={STATEMENT}",
            application_name="people",
            **options,
        )
        fresh.autocommit = True
        return fresh

    def _listen(self) -> "connection":
        try:
            # It is silent for days, and a machine that is gone says nothing.
            fresh = self._connect(keepalives_idle=IDLE, keepalives_interval=1, keepalives_count=TRIES)
            self._execute(fresh, LISTEN, ())
        except psycopg2.Error as error:
            raise UnavailableError(error) from error
        return fresh

    @staticmethod
    def _execute(by: "connection", statement: str, values: tuple[object, ...]) -> Rows:
        with by.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
