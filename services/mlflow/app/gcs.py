"""The repository for gs:// addresses, which passes artifacts through as they come.

Replacing an object needs storage.objects.delete. Where names cannot be written again (app.overwriting), the server's
account lacks it, and each write carries the condition that there is no such object, so that the setting holds for an
account that may do more.

The client of Cloud Storage is never the anonymous one to which MLflow would fall back, and keep.
"""

import base64
import mimetypes
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

from app import google_account, overwriting, refusal, resumable, storage_errors
from app.removal import Removed
from app.streamed import StreamedRepository, unavailable


def _answer(error: google_account.AccountError) -> MlflowException:
    passing = isinstance(error, google_account.NotYetError)
    return MlflowException(
        f"The server cannot use its Google account: {error}",
        error_code=TEMPORARILY_UNAVAILABLE if passing else PERMISSION_DENIED,
    )


@contextmanager
def account_needed() -> Iterator[None]:
    """Answers a request for which the server has no account, no token or no storage that answers, in one line."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    try:
        yield
    except google_account.AccountError as error:
        raise _answer(error) from error
    except GoogleAuthError as error:
        raise _answer(google_account.explained(error, "the account")) from error
    except (RetryError, RequestException) as error:
        cause = getattr(error, "cause", None) or error
        raise unavailable(f"Cloud Storage does not answer: {refusal.one_line(str(cause))}") from error
    except GoogleAPICallError as error:
        raise storage_errors.answer(int(error.code or 500), refusal.reason(error)) from error


class StreamedGCSRepository(StreamedRepository, GCSArtifactRepository):
    """MLflow's repository for gs:// addresses, which passes artifacts through."""

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
    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds."""
        from google.api_core.exceptions import Forbidden, PreconditionFailed

        blob = self._blob(path, self._GCS_UPLOAD_CHUNK_SIZE)
        kind = mimetypes.guess_type(path)[0]
        # 0 is the generation of an object that is not there.
        only_new = None if overwriting.allowed() else 0
        try:
            if size is None:
                resumable.upload(blob, source, kind, self._GCS_DEFAULT_TIMEOUT, only_new)
            else:
                blob.upload_from_file(
                    source,
                    size=size,
                    content_type=kind,
                    timeout=self._GCS_DEFAULT_TIMEOUT,
                    if_generation_match=only_new,
                )
        except PreconditionFailed as error:
            raise FileExistsError(path) from error
        except Forbidden as error:
            if refusal.OVERWRITE in str(error) and only_new is not None:
                raise FileExistsError(path) from error
            raise MlflowException(
                f"The server's account may not write to gs://{blob.bucket.name}: {refusal.reason(error)}",
                error_code=PERMISSION_DENIED,
            ) from error

    def address(self, path: str) -> str:
        """Returns an object's address."""
        blob = self._blob(path)
        return f"gs://{blob.bucket.name}/{blob.name}"

    @account_needed()
    def size_of(self, path: str) -> int | None:
        """Returns an object's size in bytes; None when there is none."""
        blob = self._blob(path)
        found = blob.bucket.get_blob(blob.name, timeout=self._GCS_DEFAULT_TIMEOUT)
        return None if found is None else int(found.size)

    @account_needed()
    def checksum_of(self, path: str) -> bytes:
        """Returns the CRC32C of an object's content, which Cloud Storage keeps."""
        blob = self._blob(path)
        found = blob.bucket.get_blob(blob.name, timeout=self._GCS_DEFAULT_TIMEOUT)
        if found is None:
            raise FileNotFoundError(path)
        return base64.b64decode(found.crc32c)

    def versions(self) -> Iterator[Any]:
        """Yields all versions of all objects below the repository's address."""
        bucket, folder = self.parse_gcs_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        yield from self._get_bucket(bucket).list_blobs(prefix=f"{folder.rstrip('/')}/", versions=True)

    @account_needed()
    def remove_versions(self) -> Removed:
        """Removes all versions of all objects below the repository's address."""
        from google.api_core.exceptions import NotFound

        removed = Removed()
        for blob in self.versions():
            # Without a generation, the present version would only become an older one.
            with suppress(NotFound):
                blob.bucket.delete_blob(blob.name, generation=blob.generation)
            removed += Removed(1, blob.size or 0)
        return removed

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
    _artifact_repository_registry.register("gs", StreamedGCSRepository)  # type: ignore[no-untyped-call]
