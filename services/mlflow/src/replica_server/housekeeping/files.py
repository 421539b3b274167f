"""Removes the artifacts of one run, model or experiment from the storage, with all their older versions."""

from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from replica_server.artifacts.addresses import PROXIED
from replica_server.artifacts.removal import RemovalError, Removed
from replica_server.text import one_line

if TYPE_CHECKING:
    from replica_server.artifacts.repository import StorageRepository


def location(uri: str, destination: str) -> str:
    """Returns where in the storage an artifact address of MLflow's leads."""
    parts = urlsplit(uri)
    return destination.rstrip("/") + parts.path if parts.scheme == PROXIED else uri


def remove_files(uri: str, owner: str, destination: str) -> Removed | None:
    """Removes the files below an artifact address, with their older versions.

    Args:
        uri: The address as MLflow keeps it.
        owner: The id of the run, model or experiment, a folder of which name they have to be in.
        destination: The storage that the server uses.

    Returns:
        What was removed; None when the files are not the owner's alone or elsewhere.

    Raises:
        RemovalError: Files are left.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    place = location(uri, destination)
    # By MLflow's address, not the place: the storage's own prefix may be called like an experiment.
    if owner not in urlsplit(uri).path.split("/") or urlsplit(place).scheme not in ("s3", "gs"):
        return None
    repository = cast("StorageRepository", get_artifact_repository(place))
    try:
        removed = repository.remove_versions()
        left = any(repository.versions())
    except RemovalError:
        raise
    except Exception as error:  # each storage has errors of its own, and none may pass for success
        raise RemovalError(f"{place}: {one_line(str(error)) or type(error).__name__}") from error
    if left:
        raise RemovalError(f"{place}: the storage keeps the files: this identity may not delete them")
    return removed
