"""Finds a model by its URI, and brings its files to this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trainer.tracking import client as tracking
from trainer.util.errors import InputError, TrackingError, downloading, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

FORMS = "runs:/RUN_ID/model, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, or a folder"

#: How models are named, and what the server can answer only if it has such a one.
_QUESTIONS: tuple[tuple[str, Callable[..., Any]], ...] = (
    (r"runs:/([^/]+)/.+", lambda client, run: client.get_run(run)),
    (r"models:/(m-[^/@]+)", lambda client, model: client.get_logged_model(model)),
    (r"models:/([^/@]+)@([^/@]+)", lambda client, name, alias: client.get_model_version_by_alias(name, alias)),
    (r"models:/([^/@]+)/(\d+)", lambda client, name, version: client.get_model_version(name, version)),
    # "latest", or a stage.
    (r"models:/([^/@]+)/\w+", lambda client, name: client.get_registered_model(name)),
)


def local_files(model: str, folder: Path, *, uri: str | None, wait: float) -> Path:
    """Return the folder with a model's files.

    Args:
        model: A model URI, or the path of a folder in MLflow's format.
        folder: Where to download to, if need be.
        uri: The tracking URI; not needed for a folder of this machine.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        InputError: There is no such model.
        TrackingError: The server cannot be reached, or refuses.
    """
    scheme = urlsplit(model).scheme
    if scheme in ("", "file"):
        path = Path(urlsplit(model).path if scheme else model)
        if not path.exists():
            raise InputError(f"{model}: no such model; expected {FORMS} (--model)")
        return path
    ask = _question(model) if scheme in ("runs", "models") else None
    if ask is not None:
        # Asks first: a download of what is not there fails with whatever the artifact store says.
        uri, _ = tracking.look_up(uri, ask, wait=wait)
    return _download(model, folder, uri)


def _question(model: str) -> Callable[[MlflowClient], Any]:
    """Return a question that the server can answer only if it has the model."""
    for pattern, ask in _QUESTIONS:
        if (match := re.fullmatch(pattern, model)) is not None:
            return partial(_found, ask, match.groups(), model)
    raise InputError(f"{model}: is no model URI; expected {FORMS} (--model)")


def _found(ask: Callable[..., Any], names: Sequence[str], model: str, client: MlflowClient) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return ask(client, *names)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise InputError(f"{model}: {one_line(error.message, 200)} (--model)") from error
        raise


def _download(model: str, folder: Path, uri: str | None) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        with tracking.as_default(uri), downloading(folder):
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=str(folder)))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise InputError(f"{model}: {one_line(error.message, 200)} (--model)") from error
        raise TrackingError(f"{model} cannot be downloaded: {one_line(error, 300)}") from error
    except TrackingError:
        raise
    except Exception as error:  # each storage's library has errors of its own
        raise InputError(f"{model}: has no files that can be downloaded: {one_line(error, 200)} (--model)") from error
