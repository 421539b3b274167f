"""MLflow's settings for a command or for a while: retries, time-outs, the default server."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.util.environment import environment
from trainer.util.errors import InputError

#: MLflow's own settings, unless the user has set them: retries end after about half a minute, long enough for a server
#: to restart and short enough to wait for; nothing is sent to anyone else; output is the trainer's own.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.25",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def set_defaults() -> None:
    """Set MLflow up for this process, unless the user has done so: bounded retries, no telemetry."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def configure(debug: bool = False) -> None:
    """Set MLflow up for a command: as ``set_defaults``, and no log lines of its own unless debugging."""
    set_defaults()
    if not debug:
        # MLflow and Alembic configure their loggers when they are imported or first used; this holds whatever they do.
        # What goes wrong is raised as well, and reported by the trainer.
        logging.disable(logging.ERROR)
        warnings.simplefilter("ignore")


def use_token(file: Path) -> None:
    """Have MLflow's client use the token in a file, unless the environment has one.

    Args:
        file: The file.

    Raises:
        InputError: The file cannot be read, or is empty.
    """
    if os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the token cannot be read: {file}: {getattr(error, 'strerror', 'it is no text')}") from None
    if not token:
        raise InputError(f"the token file is empty: {file}")
    os.environ["MLFLOW_TRACKING_TOKEN"] = token


@contextmanager
def as_default(uri: str | None) -> Iterator[None]:
    """Make ``uri`` MLflow's own default for a while: some of its functions know no other way to a model.

    Args:
        uri: The tracking URI; None leaves the default as it is.
    """
    import mlflow

    if uri is None:
        yield
        return
    # What MLflow is told it also writes into the environment.
    with environment({name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        try:
            yield
        finally:
            # Not set, as it was: what was set before stands in the environment too.
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
            mlflow.set_registry_uri(None)  # type: ignore[arg-type]


@contextmanager
def limits(*, retries: int | None = None, timeout: int | None = None) -> Iterator[None]:
    """Bound MLflow's retries and time-outs for a while; it reads these settings at each request."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries, "MLFLOW_HTTP_REQUEST_TIMEOUT": timeout}
    with environment({name: str(value) for name, value in wanted.items() if value is not None}):
        yield
