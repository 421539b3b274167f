"""The repository for s3:// addresses, which passes artifacts through as they come.

Where names cannot be written again (overwriting.py), each write carries the condition that there is no such object:
S3 has no permission that would say so.
"""

import mimetypes
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any, cast

from mlflow.entities import FileInfo
from mlflow.environment_variables import MLFLOW_S3_EXPECTED_BUCKET_OWNER
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from replica_server import settings
from replica_server.artifacts import storage_errors
from replica_server.artifacts.removal import RemovalError, Removed
from replica_server.artifacts.repository import SMALL, StorageRepository
from replica_server.artifacts.storage_errors import unavailable
from replica_server.artifacts.stored_objects import BackedUp, ChangedError, StoredObject
from replica_server.limits import BLOCK
from replica_server.text import one_line

# A large artifact's parts that are sent at a time, and their size; as many again may wait in memory.
PARTS, PART = 2, 8 * 2**20
# Whatever writes an object: the one request, or the last one of several.
WRITES = ("PutObject", "CompleteMultipartUpload")
# How many versions are deleted by one request, at most (S3's limit).
AT_A_TIME = 1000


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
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise storage_errors.answer(status, one_line(str(error))) from error


class Checksum:
    """Takes in an object's content, and keeps nothing of it but its CRC32C."""

    def __init__(self) -> None:
        import google_crc32c

        self._checksum = google_crc32c.Checksum()  # type: ignore[no-untyped-call]

    def write(self, content: bytes) -> int:
        """Takes the next bytes in."""
        self._checksum.update(content)  # type: ignore[no-untyped-call]
        return len(content)

    def digest(self) -> bytes:
        """Returns the checksum."""
        return bytes(self._checksum.digest())  # type: ignore[no-untyped-call]


def sign_without_content(client: Any) -> None:
    """Makes the client leave the content out of a request's signature, as it does over HTTPS by itself.

    The signature covers the content's checksum, by which the storage notices what was changed on the way by accident.
    Over plain HTTP the client would compute a SHA-256 as well, and the storage again.
    """
    client.meta.config.s3 = {**(client.meta.config.s3 or {}), "payload_signing_enabled": False}


def if_none_match(params: dict[str, Any], **_: Any) -> None:
    """Makes a request to write an object one that only creates it."""
    params.setdefault("IfNoneMatch", "*")


@contextmanager
def only_new(client: Any) -> Iterator[None]:
    """Makes the client's writes conditional, unless names can be written again; raises FileExistsError."""
    from botocore.exceptions import ClientError

    if not settings.current().overwrite:
        for write in WRITES:
            # Once for each client: the id says that it is there already.
            client.meta.events.register(f"provide-client-params.s3.{write}", if_none_match, unique_id=f"new-{write}")
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "PreconditionFailed":
            raise FileExistsError from error
        if code == "ConditionalRequestConflict":
            raise unavailable("Two uploads under one name at the same time: one has to be repeated") from error
        raise


class S3Repository(StorageRepository, BackedUp):
    """The repository for s3:// addresses, which MLflow finds by the package's entry point.

    Args:
        artifact_uri: The address.
        tracking_uri: What MLflow passes on beside it.
        registry_uri: See `tracking_uri`.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._mlflow = S3ArtifactRepository(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)
        owner = MLFLOW_S3_EXPECTED_BUCKET_OWNER.get()  # type: ignore[no-untyped-call]
        self._owner = {"ExpectedBucketOwner": owner} if owner else {}

    def _client(self) -> Any:
        # Private to MLflow, and worth it: one client for each thread, made with MLflow's settings for S3.
        return self._mlflow._get_s3_client()  # type: ignore[no-untyped-call]

    def _place(self, path: str) -> dict[str, str]:
        bucket, folder = self._mlflow.parse_s3_compliant_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        return {"Bucket": bucket, "Key": posixpath.join(folder, path)}

    @storage_needed()
    def list_folder(self, path: str | None) -> list[FileInfo]:
        """Lists what is in a folder."""
        return list(self._mlflow.list_artifacts(path))  # type: ignore[no-untyped-call]

    @storage_needed()
    def write_object(self, source: Any, size: int | None, path: str) -> None:  # noqa: ARG002 - the client finds out
        """Stores what `source` holds."""
        kind, encoding = mimetypes.guess_type(path)
        details = {"ContentType": kind, "ContentEncoding": encoding}
        extra = {name: value for name, value in details.items() if value} | self._owner
        extra |= self._mlflow.get_s3_file_upload_extra_args() or {}  # type: ignore[no-untyped-call]
        client = self._client()
        sign_without_content(client)
        with only_new(client):
            client.upload_fileobj(source, **self._place(path), ExtraArgs=extra, Config=upload_settings())

    @storage_needed()
    def fetch_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`, by one request that goes on where it broke off."""
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import ClientError

        client = self._client()
        try:
            client.download_fileobj(
                **self._place(path),
                Fileobj=target,
                ExtraArgs=self._owner,
                # In this thread, whatever the object's size: ranges side by side would have to wait for their turn.
                Config=TransferConfig(use_threads=False, multipart_threshold=2**50, io_chunksize=BLOCK),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                raise FileNotFoundError(path) from error
            raise

    def address(self, path: str) -> str:
        """Returns an object's address."""
        return "s3://{Bucket}/{Key}".format(**self._place(path))

    @storage_needed()
    def size_of(self, path: str) -> int | None:
        """Returns an object's size in bytes; None when there is none."""
        from botocore.exceptions import ClientError

        client = self._client()
        try:
            return int(client.head_object(**self._place(path), **self._owner)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise

    def checksum_of(self, path: str) -> bytes:
        """Returns the CRC32C of an object's content, which is read for it: S3 need not keep one."""
        content = Checksum()
        self.fetch_object(path, cast("IO[bytes]", content))
        return content.digest()

    def versions(self) -> Iterator[Any]:
        """Yields all versions of all objects below the repository's address, markers of deletions included."""
        bucket, folder = self._mlflow.parse_s3_compliant_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        client = self._client()
        pages = client.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Prefix=f"{folder.rstrip('/')}/", **self._owner
        )
        for page in pages:
            yield from page.get("Versions", [])
            yield from page.get("DeleteMarkers", [])

    def objects(self) -> Iterator[StoredObject]:
        """Yields all objects below the repository's address, as they are at present."""
        bucket, folder = self._mlflow.parse_s3_compliant_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        with storage_needed():
            pages = (
                self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **self._owner)
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield StoredObject(entry["Key"].removeprefix(prefix), entry["Size"], entry["ETag"].strip('"'))

    @storage_needed()
    def describe(self, path: str, tag: str = "") -> StoredObject | None:
        """Returns an object as it is at present; an older content, only if it is the present one."""
        from botocore.exceptions import ClientError

        client = self._client()
        try:
            found = client.head_object(**self._place(path), **self._owner)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise
        stored = StoredObject(path, int(found["ContentLength"]), found["ETag"].strip('"'))
        return stored if tag in ("", stored.tag) else None

    @storage_needed()
    def fetch_stored(self, stored: StoredObject, target: Any) -> None:
        """Writes just this content of an object to `target`; raises ChangedError when it has another by now."""
        from botocore.exceptions import ClientError, IncompleteReadError

        client = self._client()
        try:
            answer = client.get_object(**self._place(stored.name), IfMatch=f'"{stored.tag}"', **self._owner)
            for block in answer["Body"].iter_chunks(BLOCK):
                target.write(block)
        except IncompleteReadError as error:
            raise unavailable(f"The artifacts' storage broke off: {one_line(str(error))}") from error
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "412", "PreconditionFailed"):
                raise ChangedError(stored.name) from error
            raise

    def bring_back(self, stored: StoredObject) -> None:
        """Refuses: the server's identity does not see older versions in S3."""
        raise ChangedError(stored.name)

    def remove_versions(self) -> Removed:
        """Removes all versions of all objects below the repository's address."""
        bucket, _ = self._mlflow.parse_s3_compliant_uri(self.artifact_uri)  # type: ignore[no-untyped-call]
        client = self._client()
        removed = Removed()
        versions = self.versions()
        while entries := list(islice(versions, AT_A_TIME)):
            doomed = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True}, **self._owner)
            # The answer to a list of keys is a list of refusals.
            if refused := answer.get("Errors"):
                raise RemovalError(f"s3://{bucket}/{refused[0]['Key']}: {one_line(refused[0]['Message'])}")
            removed += Removed(len(entries), sum(entry.get("Size", 0) for entry in entries))
        return removed
