"""Finds a model by its URI, and brings its files to this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trainer.registry.suggestions import meant_version
from trainer.tracking.connection import query
from trainer.tracking.errors import is_missing
from trainer.tracking.model_uri import ModelUri
from trainer.tracking.settings import as_default
from trainer.util.errors import InputError, TrackingError, downloading
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

FORMS = "runs:/RUN_ID/model, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, or a folder"


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
        uri, _ = query(uri, ask, wait=wait)
    return _download(model, folder, uri)


def _question(model: str) -> Callable[[MlflowClient], Any]:
    """Return a question that the server can answer only if it has the model."""
    uri = ModelUri.parse(model)
    if uri is None or (uri.run_id is not None and uri.path is None):
        raise InputError(f"{model}: is no model URI; expected {FORMS} (--model)")
    return partial(_found, uri, model)


def _found(uri: ModelUri, model: str, client: MlflowClient) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        if uri.run_id is not None:
            return client.get_run(uri.run_id)
        if uri.model_id is not None:
            return client.get_logged_model(uri.model_id)
        name = str(uri.name)
        if uri.alias is not None:
            return client.get_model_version_by_alias(name, uri.alias)
        # "latest", or a stage, is for the download to find.
        return client.get_model_version(name, uri.version) if uri.version else client.get_registered_model(name)
    except MlflowException as error:
        if is_missing(error):
            meant = f"; {meant_version(client, uri)}" if uri.name is not None else ""
            said = one_line(error.message, 200).rstrip(".")
            raise InputError(f"{model}: {said}{meant} (--model)") from error
        raise


def _download(model: str, folder: Path, uri: str | None) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        with as_default(uri), downloading(folder):
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=str(folder)))
    except MlflowException as error:
        if is_missing(error):
            raise InputError(f"{model}: {one_line(error.message, 200)} (--model)") from error
        raise TrackingError(f"{model} cannot be downloaded: {one_line(error, 300)}") from error
    except TrackingError:
        raise
    except Exception as error:  # each storage's library has errors of its own
        raise InputError(f"{model}: has no files that can be downloaded: {one_line(error, 200)} (--model)") from error
