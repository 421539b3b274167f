"""The server, assembled: MLflow's application, what replaces parts of it, and what stands around it.

Import this only after mlflow_environment.py has prepared the environment: MLflow reads it when it is imported.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import anyio

# MLflow checks whether uvicorn is loaded to find out if it is imported as a server: so before MLflow.
import uvicorn  # noqa: F401
from mlflow.server import app as flask_app
from mlflow.server import handlers
from mlflow.server.fastapi_app import app
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from replica_server import database, limits
from replica_server.artifacts.addresses import Storage
from replica_server.artifacts.repository import StorageRepository
from replica_server.mlflow_environment import artifact_root
from replica_server.monitoring import usage_metrics
from replica_server.monitoring.database_metrics import DatabaseMetrics
from replica_server.monitoring.gauges import Gauges
from replica_server.monitoring.request_metrics import RequestMetrics
from replica_server.monitoring.route_templates import RouteTemplates
from replica_server.patches import (
    batch_requests,
    downloads,
    error_answers,
    flask_first,
    foreign_storage,
    metric_rows,
    new_runs,
    request_json,
    searches,
    shared_pool,
    ui_uploads,
    unused_middleware,
    wsgi_bridge,
)
from replica_server.people.admin_host import AdminHost
from replica_server.people.auth_middleware import AuthMiddleware
from replica_server.people.cache import PeopleCache
from replica_server.people.directory import Directory
from replica_server.people.grants import Grants
from replica_server.people.guards import Guards
from replica_server.people.identity import Proofs
from replica_server.people.record import Record
from replica_server.people.verdicts import Verdicts
from replica_server.requests import routes
from replica_server.requests.answers import Answers
from replica_server.requests.bodies import Bodies
from replica_server.requests.refused_paths import RefusedPaths
from replica_server.settings import Settings


def create(settings: Settings, destination: str, registry: CollectorRegistry | None = None) -> ASGIApp:
    """Returns the application; exits with status 1 and one line when MLflow is not what this server expects.

    Args:
        settings: The server's.
        destination: The storage's address.
        registry: Where the metrics go; None: nothing is counted.
    """
    # Before the stores open their pools.
    shared_pool.apply()
    # As the command line does: a store that cannot be opened stops the start, and no client waits for its opening.
    handlers.initialize_backend_stores(database.URI, database.URI, artifact_root(settings, destination))
    check_repository(destination)

    # What clients send.
    request_json.apply(flask_app)
    foreign_storage.apply(Storage(destination, settings.direct))
    ui_uploads.apply(flask_app)
    batch_requests.apply(flask_app)
    # How it is stored.
    metric_rows.apply()
    new_runs.apply()
    # What they get.
    error_answers.apply(flask_app)
    downloads.apply(app)
    searches.apply(flask_app)
    # Threads, places and memory.
    wsgi_bridge.apply(settings.workers)
    unused_middleware.apply(app)
    flask_first.apply(app)
    app.router.lifespan_context = with_threads(app.router.lifespan_context, settings.workers)

    # From the outside in: the count, who it is (AUTH=on), the body, then the log's line, then the address, then MLflow.
    app.user_middleware[:0] = [Middleware(Answers), Middleware(RefusedPaths, settings.extra_routes)]
    served: ASGIApp = Bodies(app, settings.largest_body)
    if settings.auth:
        served = with_people(served, settings)
    if registry is None:
        return served
    registry.register(Gauges(settings.workers))
    registry.register(DatabaseMetrics())
    registry.register(usage_metrics.UsageMetrics(destination))
    return RequestMetrics(served, RouteTemplates(routes.paths(app, flask_app)), registry)


def with_people(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Returns an application that asks each request who sends it, and records changes (AUTH=on)."""
    proofs, directory = Proofs.from_files(), Directory()
    Guards(directory, settings.guarded_aliases).apply()
    if settings.require_verdict:
        Verdicts(directory, settings.guarded_aliases).apply()
    # Around those: what nobody has granted is not looked at further.
    Grants(directory).apply(flask_app)
    record = Record(directory, settings.record_days)
    record.prune_daily()
    known = PeopleCache(directory, sso_token_days=settings.sso_token_days)
    return AuthMiddleware(app, proofs, known, directory, record, AdminHost(settings.admin_host))


def check_repository(destination: str) -> None:
    """Exits with status 1 and one line unless MLflow has found this package's repository for the storage."""
    found = get_artifact_repository(destination)
    if not isinstance(found, StorageRepository):
        sys.exit(
            f"error: MLflow uses {type(found).__name__} for {destination}: this package's entry points are not found"
        )


def with_threads(lifespan: Any, workers: int) -> Any:
    """Returns the application's start and end, with the event loop's pools of threads in the sizes of limits.py."""

    @asynccontextmanager
    async def started(app: Any) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = limits.framework_threads(workers)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(limits.ASYNCHRONOUS, "asyncio"))
        async with lifespan(app):
            yield

    return started
