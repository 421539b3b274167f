"""MLflow's stores share one pool of connections, and a shortage of connections is a 503.

Replaces: `_engine_map` of `mlflow.store.model_registry.sqlalchemy_store.SqlAlchemyStore` and of
    `mlflow.store.jobs.sqlalchemy_store.SqlAlchemyJobStore`; `mlflow.store.db.utils.QueuePool`.
Gain: up to 49 connections instead of 147, which a small PostgreSQL accepts.
Upstream: mlflow#19379 (closed) gave each store one engine for an address; the stores still do not share it.
Test: test_limits.py.
Goes when: the stores share an engine, and a pool's timeout is a 503.
"""

import os
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.store.db import utils
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine, QueuePool, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from replica_server.patches.replace import replace, require


class Pool(QueuePool):
    """A pool that fails as a database does that is not there: MLflow answers 503, and clients try again."""

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except exc.TimeoutError as error:
            raise exc.OperationalError("no connection was free in time", {}, error) from error


def apply() -> None:
    """Has MLflow's stores share one pool, and answer unusable text as such."""
    require(SqlAlchemyStore, "_engine_map")
    for store in (Registry, SqlAlchemyJobStore):
        replace(store, "_engine_map", lambda _: SqlAlchemyStore._engine_map)
    os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = QueuePool.__name__
    replace(utils, QueuePool.__name__, lambda _: Pool)

    @event.listens_for(Engine, "handle_error")
    def _(context: Any) -> None:
        # The driver's, of NUL and of half a character; PostgreSQL has not been asked.
        if type(context.original_exception) in (ValueError, UnicodeEncodeError):
            raise MlflowException(
                f"The request holds text that the database cannot keep: {context.original_exception}",
                error_code=BAD_REQUEST,
            )
