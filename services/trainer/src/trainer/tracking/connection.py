"""Waits for a server or opens a SQLite file, and finds or creates the experiment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from trainer.tracking.client import WORKER_URI, Destination
from trainer.tracking.errors import REFUSED, UNKNOWN_HOST, is_transient, reason_of, refusal_of, tracking_error
from trainer.tracking.settings import limits
from trainer.tracking.uris import (
    COMPOSED_URI,
    EMBEDDED_URI,
    absolute,
    artifact_location,
    sqlite_file,
    without_credentials,
)
from trainer.util.errors import InputError, TrackingError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

# Docker makes it in each container.
_CONTAINER = Path("/.dockerenv")


def connect(uri: str | None, experiment: str, *, wait: float = 30.0, ui_url: str | None = None) -> Destination:
    """Wait for the server, and return the destination with its experiment, which is created where it does not exist.

    Args:
        uri: The tracking URI; None for a SQLite file in the working directory.
        experiment: The experiment's name.
        wait: How many seconds to wait for a server that cannot be reached.
        ui_url: The base of links to the UI where it differs from ``uri``.

    Raises:
        TrackingError: The server stays out of reach, or refuses; a refusal is reported at once.
    """
    from mlflow.exceptions import MlflowException

    uri = absolute(uri or EMBEDDED_URI)
    shown = without_credentials(uri)
    client = make_client(uri)
    found = _wait_for(lambda: client.get_experiment_by_name(experiment), shown, wait)
    try:
        found = found or _create_experiment(client, uri, experiment)
    except MlflowException as error:
        raise tracking_error(error) from error
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {experiment!r} is deleted; restore it (mlflow experiments restore -x {found.experiment_id})"
            " or name another one with --experiment"
        )
    return Destination(uri, found.experiment_id, experiment, ui_url)


@dataclass(frozen=True)
class ConnectRequest:
    """What ``connect`` is called with: plain data that can be handed to another process."""

    uri: str | None
    experiment: str
    wait: float
    ui_url: str | None


def connect_as_task(request: ConnectRequest, _shared: None = None) -> Destination:
    """Connect as a task, perhaps on another machine (see ``parallel.engine``), which may know another address.

    Raises:
        TrackingError: As ``connect``.
    """
    known = os.environ.get(WORKER_URI)
    found = connect(known or request.uri, request.experiment, wait=request.wait, ui_url=request.ui_url)
    return replace(found, uri=absolute(request.uri)) if known and request.uri else found


def answers(uri: str) -> bool:
    """Tell whether a server answers at an address, whatever it answers: one request, without MLflow."""
    import http.client
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=5):  # noqa: S310 - the scheme is HTTP's
            return True
    except HTTPError:
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False


def wait_for_server(uri: str, wait: float) -> MlflowClient:
    """Wait for a server, and return a client that has had an answer from it.

    Args:
        uri: The tracking URI.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        TrackingError: The server stays out of reach, or refuses; a refusal is reported at once.
    """
    client = make_client(absolute(uri))
    _wait_for(lambda: client.search_experiments(max_results=1), without_credentials(uri), wait)
    return client


def query(uri: str | None, ask: Callable[[MlflowClient], T], *, wait: float = 30.0) -> tuple[str, T]:
    """Wait for the server, ask it something, and create nothing; return its URI and the answer.

    Args:
        uri: The tracking URI; None for the SQLite file in the working directory.
        ask: A question that is safe to ask again.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        InputError: There is no such SQLite file.
        TrackingError: The server stays out of reach, or refuses.
    """
    uri = absolute(uri or EMBEDDED_URI)
    path = sqlite_file(uri)
    if path is not None and not path.exists():
        # To look something up would create the file, empty.
        raise InputError(f"{path}: no such file; name the MLflow server or file with --tracking-uri")
    client = make_client(uri)
    return uri, _wait_for(lambda: ask(client), without_credentials(uri), wait)


def _wait_for(ask: Callable[[], T], shown: str, wait: float) -> T:
    """Return the answer to a real request; retry for ``wait`` seconds while the server is out of reach."""
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + wait
    pause = 0.25
    while True:
        try:
            with limits(retries=0, timeout=max(1, min(10, round(wait)))):
                return ask()
        except MlflowException as error:
            if (refusal := refusal_of(error)) is not None:
                raise TrackingError(f"{shown} refuses: {refusal}") from error
            left = deadline - time.monotonic()
            if not is_transient(error):
                raise TrackingError(f"{shown}: {reason_of(error)}") from error
            if left <= 0:
                reason = reason_of(error)
                raise TrackingError(
                    f"cannot reach {shown} after {wait:g} s (--wait): {reason}{_hint(shown, reason)}"
                ) from error
            time.sleep(min(pause, left))
            pause = min(2 * pause, 2.0)
        except (OSError, ValueError, TypeError) as error:
            raise TrackingError(f"{shown}: {one_line(error)}") from error


def _hint(uri: str, reason: str) -> str:
    """Return what is most likely wrong with an address where nothing is."""
    # Any other reason means that something is there.
    if reason not in (REFUSED, UNKNOWN_HOST):
        return ""
    if uri.rstrip("/") == COMPOSED_URI:
        return "; is the stack up? (docker compose up --detach --wait)"
    if urlsplit(uri).hostname in ("localhost", "127.0.0.1", "::1") and _CONTAINER.exists():
        return (
            "; inside a container that is the container itself:"
            " name the server as its network knows it, or run this on the machine (scripts/verify, uv run trainer)"
        )
    return ""


def make_client(uri: str) -> MlflowClient:
    """Return a client; sends no request, but opens a database.

    Raises:
        TrackingError: The URI cannot be used, or the database not be opened.
    """
    from mlflow import MlflowClient

    shown = without_credentials(uri)
    try:
        with _alone(uri):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:  # a database's driver has errors of its own
        if "maintenance mode" in str(error):
            raise TrackingError(
                f"{shown} is a folder, which MLflow no longer tracks to; use a server, or a file such as {EMBEDDED_URI}"
            ) from error
        raise TrackingError(f"cannot use the tracking URI {shown}: {one_line(error)}") from error


def _create_experiment(client: MlflowClient, uri: str, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        # Safe to retry: a second creation of the same name is refused.
        client.create_experiment(name, artifact_location=artifact_location(uri, name))
    except MlflowException as error:
        if "already exists" not in str(error).lower() and "unique" not in str(error).lower():
            raise TrackingError(f"cannot create experiment {name!r}: {reason_of(error)}") from error
    found = client.get_experiment_by_name(name)
    if found is None:
        raise TrackingError(f"experiment {name!r} was created but cannot be found")
    return found


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time open a SQLite file: MLflow makes its tables, and two that do so at once fail."""
    file = sqlite_file(uri)
    with ExitStack() as held:
        # Where there is no such lock (Windows, some network file systems) things are as without it.
        with suppress(ImportError, OSError):
            import fcntl

            if file is not None:
                # The folder's own lock: no file is left behind.
                folder = os.open(file.parent, os.O_RDONLY)
                held.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)
        yield
