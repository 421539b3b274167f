"""The repository for s3:// addresses, which passes artifacts through as they come."""

import mimetypes
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import IO, Any

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from app.limits import BLOCK
from app.refusal import one_line
from app.streamed import SMALL, StreamedRepository, unavailable

# A large artifact's parts that are sent at a time, and their size; as many again may wait in memory.
PARTS, PART = 2, 8 * 2**20


def upload_settings() -> Any:
    """Returns the client's settings for an upload: its own would hold ten parts in memory."""
    from boto3.s3.transfer import TransferConfig

    settings = TransferConfig(multipart_threshold=SMALL + 1, multipart_chunksize=PART, max_concurrency=PARTS)
    settings.max_in_memory_upload_chunks = PARTS
    return settings


@contextmanager
def storage_needed() -> Iterator[None]:
    """Answers a request for which the storage does not answer, or has failed, in one line."""
    from botocore import exceptions

    try:
        yield
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise unavailable(f"The artifacts' storage does not answer: {one_line(str(error))}") from error
    except exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise unavailable(f"The artifacts' storage fails: {one_line(str(error))}") from error


class StreamedS3Repository(StreamedRepository, S3ArtifactRepository):
    """MLflow's repository for s3:// addresses, which passes artifacts through."""

    def _place(self, path: str) -> dict[str, str]:
        bucket, folder = self.parse_s3_compliant_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        return {"Bucket": bucket, "Key": posixpath.join(folder, path)}

    @storage_needed()
    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Lists what is in a folder."""
        return list(super().list_artifacts(path))  # type: ignore[no-untyped-call]

    @storage_needed()
    def write_object(self, source: Any, size: int | None, path: str) -> None:  # noqa: ARG002 - the client finds out
        """Stores what `source` holds."""
        kind, encoding = mimetypes.guess_type(path)
        details = {"ContentType": kind, "ContentEncoding": encoding}
        extra = {name: value for name, value in details.items() if value} | self._bucket_owner_params
        extra |= self.get_s3_file_upload_extra_args() or {}  # type: ignore[no-untyped-call]
        client = self._get_s3_client()  # type: ignore[no-untyped-call]
        client.upload_fileobj(source, **self._place(path), ExtraArgs=extra, Config=upload_settings())

    @storage_needed()
    def read_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`, by one request that goes on where it broke off."""
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import ClientError

        client = self._get_s3_client()  # type: ignore[no-untyped-call]
        try:
            client.download_fileobj(
                **self._place(path),
                Fileobj=target,
                ExtraArgs=self._bucket_owner_params,
                # In this thread, whatever the object's size: ranges side by side would have to wait for their turn.
                Config=TransferConfig(use_threads=False, multipart_threshold=2**50, io_chunksize=BLOCK),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                raise FileNotFoundError(path) from error
            raise


def register() -> None:
    """Makes MLflow use it for every s3:// address."""
    _artifact_repository_registry.register("s3", StreamedS3Repository)  # type: ignore[no-untyped-call]
