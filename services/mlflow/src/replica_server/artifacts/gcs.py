"""The repository for gs:// addresses, which passes artifacts through as they come.

Replacing an object needs storage.objects.delete. Where names cannot be written again (overwriting.py), the server's
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
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

from replica_server import settings
from replica_server.artifacts import google_account, google_refusals, resumable, storage_errors
from replica_server.artifacts.removal import Removed
from replica_server.artifacts.repository import StorageRepository
from replica_server.artifacts.storage_errors import unavailable
from replica_server.artifacts.stored_objects import BackedUp, ChangedError, StoredObject
from replica_server.text import one_line


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
        raise unavailable(f"Cloud Storage does not answer: {one_line(str(cause))}") from error
    except GoogleAPICallError as error:
        raise storage_errors.answer(int(error.code or 500), google_refusals.reason(error)) from error


class GCSRepository(StorageRepository, BackedUp):
    """The repository for gs:// addresses, which MLflow finds by the package's entry point.

    Args:
        artifact_uri: The address.
        tracking_uri: What MLflow passes on beside it.
        registry_uri: See `tracking_uri`.
        client: Google's client; None: the one of this container's account, made at its first use.
    """

    def __init__(
        self,
        artifact_uri: str,
        tracking_uri: str | None = None,
        registry_uri: str | None = None,
        client: Any = None,
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._client = client or google_account.LateClient()
        self._mlflow = GCSArtifactRepository(artifact_uri, self._client)
        self._timeout = settings.current().storage_timeout

    @account_needed()
    def bucket(self) -> Any:
        """Returns the address's bucket, as Google's client has it."""
        return self._client.bucket(self._place()[0])

    def _place(self) -> tuple[str, str]:
        """Returns the bucket's name, and the folder in it."""
        bucket, folder = self._mlflow.parse_gcs_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        return bucket, folder

    def _blob(self, path: str, chunk_size: int | None = None) -> Any:
        return self.bucket().blob(posixpath.join(self._place()[1], path), chunk_size=chunk_size)

    @account_needed()
    def list_folder(self, path: str | None) -> list[FileInfo]:
        """Lists what is in a folder."""
        return list(self._mlflow.list_artifacts(path))  # type: ignore[no-untyped-call]

    @account_needed()
    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds."""
        from google.api_core.exceptions import Forbidden, PreconditionFailed

        blob = self._blob(path, settings.current().gcs_chunk_size)
        kind = mimetypes.guess_type(path)[0]
        # 0 is the generation of an object that is not there.
        only_new = None if settings.current().overwrite else 0
        try:
            if size is None:
                resumable.upload(blob, source, kind, self._timeout, only_new)
            else:
                blob.upload_from_file(
                    source,
                    size=size,
                    content_type=kind,
                    timeout=self._timeout,
                    if_generation_match=only_new,
                )
        except PreconditionFailed as error:
            raise FileExistsError(path) from error
        except Forbidden as error:
            if google_refusals.OVERWRITE in str(error) and only_new is not None:
                raise FileExistsError(path) from error
            raise MlflowException(
                f"The server's account may not write to gs://{blob.bucket.name}: {google_refusals.reason(error)}",
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
        found = blob.bucket.get_blob(blob.name, timeout=self._timeout)
        return None if found is None else int(found.size)

    @account_needed()
    def checksum_of(self, path: str) -> bytes:
        """Returns the CRC32C of an object's content, which Cloud Storage keeps."""
        blob = self._blob(path)
        found = blob.bucket.get_blob(blob.name, timeout=self._timeout)
        if found is None:
            raise FileNotFoundError(path)
        return base64.b64decode(found.crc32c)

    def versions(self) -> Iterator[Any]:
        """Yields all versions of all objects below the repository's address."""
        yield from self.bucket().list_blobs(prefix=f"{self._place()[1].rstrip('/')}/", versions=True)

    def objects(self) -> Iterator[StoredObject]:
        """Yields all objects below the repository's address, as they are at present."""
        folder = self._place()[1].rstrip("/")
        prefix = f"{folder}/" if folder else ""
        bucket = self.bucket()
        with account_needed():
            for blob in bucket.list_blobs(prefix=prefix, timeout=self._timeout):
                yield StoredObject(blob.name.removeprefix(prefix), int(blob.size), str(blob.generation))

    @account_needed()
    def describe(self, path: str, tag: str = "") -> StoredObject | None:
        """Returns an object as it is at present, or an older content of it by its generation; None without one."""
        blob = self._blob(path)
        found = blob.bucket.get_blob(blob.name, generation=int(tag) if tag else None, timeout=self._timeout)
        return None if found is None else StoredObject(path, int(found.size), str(found.generation))

    @account_needed()
    def fetch_stored(self, stored: StoredObject, target: Any) -> None:
        """Writes just this content of an object to `target`; raises ChangedError when it is gone."""
        from google.api_core.exceptions import NotFound

        blob = self._blob(stored.name)
        try:
            # As it is stored: unpacked, it would be another content.
            blob.bucket.blob(blob.name, generation=int(stored.tag)).download_to_file(
                target, timeout=self._timeout, raw_download=True
            )
        except NotFound as error:
            raise ChangedError(stored.name) from error

    @account_needed()
    def bring_back(self, stored: StoredObject) -> None:
        """Makes an older generation of an object the present one again."""
        from google.api_core.exceptions import NotFound

        blob = self._blob(stored.name)
        try:
            blob.bucket.copy_blob(blob, blob.bucket, source_generation=int(stored.tag), timeout=self._timeout)
        except NotFound as error:
            raise ChangedError(stored.name) from error

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
    def fetch_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`, by one request that goes on where it broke off."""
        from google.api_core.exceptions import NotFound

        try:
            self._blob(path).download_to_file(target, timeout=self._timeout)
        except NotFound as error:
            raise FileNotFoundError(path) from error
