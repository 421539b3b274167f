"""Starts the tracking server as one process.

`mlflow server` would keep a second process (the command line's, 180 MiB) beside the server's and import MLflow twice.
Here uvicorn runs MLflow's application directly, in the environment that `mlflow server` gives its workers. The names of
those variables are MLflow's own constants: a version that renames one fails here at the import, not later and silently.
"""

import asyncio
import os
import re
import sys
import uuid
import warnings
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any
from urllib.parse import urlsplit

import anyio

# MLflow checks whether uvicorn is loaded to find out if it is imported as a server: so before MLflow.
import uvicorn
from starlette.middleware import Middleware
from uvicorn.protocols.http import httptools_impl

from app import artifacts, database, keys, limits, overwriting, routes, temporary


def artifact_root(destination: str) -> str:
    """Returns what new experiments get as their artifacts' address: the server's (proxied), or the storage's (direct).

    Exits with status 1 and one line when ARTIFACT_MODE is neither.
    """
    mode = os.environ.get("ARTIFACT_MODE") or "proxied"
    if mode == "direct":
        return destination.rstrip("/")
    if mode != "proxied":
        sys.exit(f"error: ARTIFACT_MODE is {mode}: it can be proxied or direct")
    return os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]


def server_environment(destination: str) -> dict[str, str]:
    """Returns what `mlflow server --backend-store-uri … --serve-artifacts --artifacts-destination …` would set."""
    from mlflow import environment_variables as variables
    from mlflow.server import constants

    return {
        # By these two MLflow knows that it is the server: it runs no code of a scorer that a client has stored.
        variables._MLFLOW_SERVER_BOOT_ID.name: uuid.uuid4().hex,
        variables._MLFLOW_IN_JOB_EXECUTOR.name: "false",
        constants.BACKEND_STORE_URI_ENV_VAR: database.URI,
        constants.ARTIFACT_ROOT_ENV_VAR: artifact_root(destination),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: destination,
    }


class NoRepository:
    """A kind of repository that none is."""


def keep_transfers_proxied() -> None:
    """Keeps the server from sending clients to the bucket.

    With S3 and Cloud Storage it would offer signed addresses: for every download, and for uploads from 500 MB. They
    name the storage as this container knows it (http://minio:9000), so that a client elsewhere tries for minutes and
    fails; and in Google Cloud they need a permission to sign that the server's roles do not hold.
    """
    from mlflow.server import handlers

    for capability in ("MultipartUploadMixin", "MultipartDownloadMixin"):
        if not hasattr(handlers, capability):
            raise RuntimeError(
                f"mlflow.server.handlers.{capability} is gone: has MLflow changed how it signs addresses?"
            )
        setattr(handlers, capability, NoRepository)


def public_hosts() -> list[str]:
    """Returns the names in MLFLOW_PUBLIC_HOSTS, under which the server is called from elsewhere.

    Exits with status 1 and one line when one is no name: the server would be healthy, and refuse everyone who uses it.
    """
    names = [host.strip() for host in os.environ.get("MLFLOW_PUBLIC_HOSTS", "").split(",") if host.strip()]
    for name in names:
        if not re.fullmatch(r"[\w*.-]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?", name):
            sys.exit(f'error: MLFLOW_PUBLIC_HOSTS: "{name}" is no host name (mlflow.example.org is one)')
        # 10.* would match 10.evil.example, a name that anyone can have.
        if not re.fullmatch(r"(\*\.)?[^*]+", name):
            known = "a * stands for the first part of a name only (*.example.org)"
            sys.exit(f'error: MLFLOW_PUBLIC_HOSTS: "{name}" matches names of others: {known}')
    return names


def access_log() -> bool:
    """Returns whether each request is logged; exits with status 1 and one line when MLFLOW_ACCESS_LOG is neither."""
    value = os.environ.get("MLFLOW_ACCESS_LOG") or "false"
    if value not in ("true", "false"):
        sys.exit(f"error: MLFLOW_ACCESS_LOG is {value}: it can be true or false")
    return value == "true"


def allowed_hosts() -> str:
    """Returns the Host headers to accept, comma-separated: this service's name, loopback, and the public hosts.

    Each name is accepted with and without a port.
    """
    names = ["mlflow", "localhost", "127.0.0.1", "0.0.0.0", "[[]::1]", *public_hosts()]  # noqa: S104 - a name of loopback
    return ",".join(pattern for name in names for pattern in (name.replace("[[]", "["), f"{name}:*"))


def allowed_origins() -> str:
    """Returns the Origin headers to accept beside loopback's, comma-separated: the UI's own, under each public host.

    MLflow compares with this list and not with the Host header. The UI's searches and changes carry the header, so
    that without it the UI would show nothing under a public name.
    """
    addresses = [f"{scheme}://{name}" for name in public_hosts() for scheme in ("https", "http")]
    return ",".join(pattern for address in addresses for pattern in (address, f"{address}:*"))


def check_upload_settings() -> None:
    """Exits with status 1 and one line when a setting is no such number: MLflow would fail at each upload only."""
    for name, unit in (("MLFLOW_GCS_UPLOAD_CHUNK_SIZE", 2**18), ("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", 1)):
        value = os.environ.get(name, str(unit))
        if not re.fullmatch("[1-9][0-9]*", value) or int(value) % unit:
            what = f"a multiple of {unit} bytes (256 KiB)" if unit > 1 else "a whole number of seconds"
            sys.exit(f"error: {name} is {value}: it has to be {what}")


def with_threads(lifespan: Any) -> Any:
    """Returns the application's start and end, with the event loop's pools of threads in the sizes of limits.py."""

    @asynccontextmanager
    async def started(app: Any) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = limits.framework_threads()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(limits.ASYNCHRONOUS, "asyncio"))
        async with lifespan(app):
            yield

    return started


def main() -> None:
    """Waits for the database, opens the store, serves until SIGTERM."""
    replaced = overwriting.allowed()
    destination = artifacts.read_destination()
    artifact_root(destination)
    check_upload_settings()
    log_requests = access_log()
    largest_body = limits.largest_body()
    routes.check_workspaces()
    extra_routes = routes.extra()
    # The UI offers what the server says that it has.
    os.environ["MLFLOW_ENABLE_AI_GATEWAY"] = str("gateway" in extra_routes).lower()
    database.prepare()
    keys.hand_over()
    temporary.prepare()
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = allowed_hosts()
    if origins := allowed_origins():
        os.environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = origins
    with closing(database.connect()) as connection:
        limits.check(connection)
        keys.warn_of_lost_secrets(connection)
    database.log_outages_briefly()
    os.environ.update(server_environment(destination))
    os.environ.update(limits.environment())
    # MLflow's to mend, and otherwise the log's first lines.
    warnings.filterwarnings("ignore", message="starlette.middleware.wsgi is deprecated")
    from mlflow.server import app as flask_app
    from mlflow.server import handlers
    from mlflow.server.fastapi_app import app

    database.prepare_stores()
    # As the command line does: a store that cannot be opened stops the start, and no client waits for its opening.
    handlers.initialize_backend_stores(database.URI, database.URI, artifact_root(destination))
    keep_transfers_proxied()
    from app import (
        addresses,
        answers,
        bodies,
        gate,
        gcs,
        messages,
        repositories,
        s3,
        searches,
        streamed,
        ui_uploads,
    )
    from app.missing import SaysWhatIsMissing
    from app.names import ChecksNames

    scheme = urlsplit(destination).scheme
    {"s3": s3, "gs": gcs}[scheme].register()
    repositories.extend(scheme, ChecksNames, SaysWhatIsMissing)
    addresses.guard(addresses.from_environment(destination))
    messages.guard(flask_app)
    ui_uploads.take_over(flask_app)
    answers.install(flask_app)
    # Before MLflow's route for the same paths.
    app.router.routes[:0] = streamed.router.routes
    streamed.bound_other_answers()
    searches.take_over(flask_app)
    streamed.shorten_the_way(app)
    app.router.lifespan_context = with_threads(app.router.lifespan_context)
    app.user_middleware[:0] = [Middleware(answers.Answers), Middleware(gate.Gate, extra_routes)]
    artifacts.end_when_changed(destination)
    print(
        f"mlflow: artifacts are in {destination}; new experiments keep them in {artifact_root(destination)}; "
        f"a name that is written again {'is replaced' if replaced else 'is refused'}",
        flush=True,
    )
    # How much of a request's body waits for the application: fewer and larger pieces pass through MLflow's middleware.
    httptools_impl.HIGH_WATER_LIMIT = 2**18  # type: ignore[attr-defined]
    # One worker: two would need twice the memory, and PostgreSQL and the bucket do the waiting in threads.
    application = bodies.Bodies(app, largest_body)
    uvicorn.run(
        application,
        host="0.0.0.0",  # noqa: S104 - in a container
        port=5000,
        access_log=log_requests,
        timeout_keep_alive=limits.KEEP_ALIVE,
    )


if __name__ == "__main__":
    main()
