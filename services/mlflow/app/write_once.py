"""Uploads to Cloud Storage that can be repeated, by an account that may write each object once.

Without storage.objects.delete an existing object cannot be overwritten. That protects the artifacts, but it also
refuses a second attempt whose first one arrived and whose answer was lost, of the client library or of MLflow's own
client. So a refusal is looked into: when the object holds the very same bytes, the upload is done. When it does not,
the client gets an answer that says so, and not the status 500 at which it would try again for minutes.
"""

import base64
import posixpath
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_ALREADY_EXISTS
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

OVERWRITE = "storage.objects.delete"


def checksum(file: Path) -> str:
    """Returns a file's CRC32C as Cloud Storage writes it."""
    import google_crc32c

    digest = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with file.open("rb") as content:
        while chunk := content.read(2**20):
            digest.update(chunk)  # type: ignore[no-untyped-call]
    return base64.b64encode(digest.digest()).decode()  # type: ignore[no-untyped-call]


def holds(blob: Any, file: Path) -> bool:
    """Tells whether an object holds a file's bytes."""
    return blob is not None and blob.size == file.stat().st_size and blob.crc32c == checksum(file)


class WriteOnceRepository(GCSArtifactRepository):
    """MLflow's repository for gs:// addresses, with this answer to a refused upload."""

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Uploads a file, unless it is there already."""
        from google.api_core.exceptions import Forbidden

        try:
            super().log_artifact(local_file, artifact_path)  # type: ignore[no-untyped-call]
        except Forbidden as error:
            bucket, folder = self.parse_gcs_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
            name = posixpath.join(folder, artifact_path or "", Path(local_file).name)
            if OVERWRITE not in str(error):
                raise MlflowException(
                    f"The server's account may not write to gs://{bucket}", error_code=PERMISSION_DENIED
                ) from error
            existing = self._get_bucket(bucket).get_blob(name)  # type: ignore[no-untyped-call]
            if not holds(existing, Path(local_file)):
                raise MlflowException(
                    f"The artifact gs://{bucket}/{name} exists with other content, and cannot be overwritten",
                    error_code=RESOURCE_ALREADY_EXISTS,
                ) from error


def register() -> None:
    """Makes MLflow use it for every gs:// address."""
    _artifact_repository_registry.register("gs", WriteOnceRepository)  # type: ignore[no-untyped-call]
