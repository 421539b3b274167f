"""Uploads to Cloud Storage that can be repeated, by an account that may write each object once.

Without storage.objects.delete an existing object cannot be overwritten. That protects the artifacts, but it also
refuses a second attempt whose first one arrived and whose answer was lost, of the client library or of MLflow's own
client. So a refusal is looked into: when the object holds the very same bytes, the upload is done. When it does not,
the client gets an answer that says so, and not the status 500 at which it would try again for minutes.

The client of Cloud Storage is never the anonymous one to which MLflow would fall back, and keep.
"""

import base64
import mimetypes
import posixpath
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_ALREADY_EXISTS, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

from app import google_account, refusal, resumable
from app.streamed import StreamedRepository, unavailable
from app.transfer import Incoming


def _answer(error: google_account.AccountError) -> MlflowException:
    # MLflow's client tries again at a 503, and does not show its message: so it is logged too.
    print(f"error: {error}", file=sys.stderr, flush=True)
    passing = isinstance(error, google_account.NotYetError)
    return MlflowException(
        f"The server cannot use its Google account: {error}",
        error_code=TEMPORARILY_UNAVAILABLE if passing else PERMISSION_DENIED,
    )


@contextmanager
def account_needed() -> Iterator[None]:
    """Answers a request for which the server has no account, no token or no storage that answers, in one line."""
    from google.api_core.exceptions import RetryError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except google_account.AccountError as error:
        raise _answer(error) from error
    except GoogleAuthError as error:
        raise _answer(google_account.explained(error, "the account")) from error
    except RetryError as error:
        raise unavailable(f"Cloud Storage does not answer: {refusal.one_line(str(error.cause or error))}") from error


class WriteOnceRepository(StreamedRepository, GCSArtifactRepository):
    """MLflow's repository for gs:// addresses, which passes artifacts through, with this answer to a refused upload."""

    def __init__(self, artifact_uri: str, client: Any = None, **others: Any) -> None:
        super().__init__(artifact_uri, client or google_account.LateClient(), **others)

    @account_needed()
    def _get_bucket(self, bucket: str) -> Any:
        return super()._get_bucket(bucket)  # type: ignore[no-untyped-call]

    def _blob(self, path: str, chunk_size: int | None = None) -> Any:
        bucket, folder = self.parse_gcs_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        return self._get_bucket(bucket).blob(posixpath.join(folder, path), chunk_size=chunk_size)

    @account_needed()
    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Lists what is in a folder."""
        return list(super().list_artifacts(path))  # type: ignore[no-untyped-call]

    @account_needed()
    def store(self, path: str, incoming: Incoming) -> None:
        """Stores a request's body, unless the object is there already."""
        from google.api_core.exceptions import Forbidden

        try:
            super().store(path, incoming)
        except Forbidden as error:
            blob = self._blob(path)
            if refusal.OVERWRITE not in str(error):
                raise MlflowException(
                    f"The server's account may not write to gs://{blob.bucket.name}: {refusal.reason(error)}",
                    error_code=PERMISSION_DENIED,
                ) from error
            incoming.drain()
            existing = blob.bucket.get_blob(blob.name)
            checksum = base64.b64encode(incoming.checksum.digest()).decode()  # type: ignore[no-untyped-call]
            if existing is None or (existing.size, existing.crc32c) != (incoming.received, checksum):
                raise MlflowException(
                    f"The artifact gs://{blob.bucket.name}/{blob.name} exists with other content, "
                    "and cannot be overwritten",
                    error_code=RESOURCE_ALREADY_EXISTS,
                ) from error

    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds."""
        blob = self._blob(path, self._GCS_UPLOAD_CHUNK_SIZE)
        kind = mimetypes.guess_type(path)[0]
        if size is None:
            resumable.upload(blob, source, kind, self._GCS_DEFAULT_TIMEOUT)
        else:
            blob.upload_from_file(source, size=size, content_type=kind, timeout=self._GCS_DEFAULT_TIMEOUT)

    @account_needed()
    def read_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`, by one request that goes on where it broke off."""
        from google.api_core.exceptions import NotFound

        try:
            self._blob(path).download_to_file(target, timeout=self._GCS_DEFAULT_TIMEOUT)
        except NotFound as error:
            raise FileNotFoundError(path) from error


def register() -> None:
    """Makes MLflow use it for every gs:// address."""
    _artifact_repository_registry.register("gs", WriteOnceRepository)  # type: ignore[no-untyped-call]
