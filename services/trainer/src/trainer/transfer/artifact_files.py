"""Files of MLflow's artifact stores: list, download, digest, copy."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.util.errors import TrackingError, downloading


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


def copy_files(source: Any, target: Any, changed: Mapping[str, Callable[[Path], None]]) -> Iterator[int]:
    """Copy all files, one at a time, and compare the SHA-256 of each as it is read back; yield their sizes in bytes.

    Args:
        source: The artifact repository that they are in.
        target: The one that they go to; what is there with the same content is not sent again.
        changed: By name, what changes a file before it is sent.

    Raises:
        TrackingError: What arrived is not what was sent.
    """
    there = set(file_names(target))
    for name in file_names(source):
        with tempfile.TemporaryDirectory(prefix="trainer-push-") as folder:
            file = download_file(source, name, Path(folder) / "source")
            if name in changed:
                changed[name](file)
            wanted = sha256(file)
            if name not in there or sha256(download_file(target, name, Path(folder) / "before")) != wanted:
                target.log_artifact(str(file), name.rpartition("/")[0] or None)
                if sha256(download_file(target, name, Path(folder) / "after")) != wanted:
                    raise TrackingError(f"{name} has arrived with other content; the same command tries it again")
            yield file.stat().st_size
