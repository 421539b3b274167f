"""Files of MLflow's artifact stores: list, download, digest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from trainer.util.errors import downloading


def open_repository(location: str, tracking_uri: str) -> Any:
    """Return MLflow's client of the artifact store that a location is in."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, tracking_uri=tracking_uri, registry_uri=tracking_uri)


def file_names(repository: Any) -> list[str]:
    """Return the names of all files in an artifact repository."""
    names: list[str] = []
    folders: list[str | None] = [None]
    while folders:
        for entry in repository.list_artifacts(folders.pop()):
            (folders if entry.is_dir else names).append(entry.path)
    return sorted(names)


def download_file(repository: Any, name: str, folder: Path) -> Path:
    """Download a file into a new folder, and return its path."""
    folder.mkdir()
    with downloading(folder):
        return Path(repository.download_artifacts(name, str(folder)))


def sha256(file: Path) -> str:
    """Return the SHA-256 digest of a file (64 hexadecimal digits)."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
