"""A bucket that backups go to, in S3 or in Cloud Storage: its few operations, and each refusal in one line.

It is another bucket than the artifacts', with another identity: the server's may not delete, and whoever has it should
not reach the backups. The key is read from a file.
"""

import configparser
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from replica_server import settings
from replica_server.artifacts import google_account, google_refusals
from replica_server.artifacts.s3 import upload_settings
from replica_server.backups.errors import BackupError
from replica_server.limits import BLOCK
from replica_server.text import one_line

if TYPE_CHECKING:
    from replica_server.backups.folder import Target

KEY_FILE = "BACKUP_KEY_FILE"
# Where the key file is in the container; an empty file stands for none.
KEY = Path("/run/secrets/backup-key")
KEY_NAMES = ("aws_access_key_id", "aws_secret_access_key")
ENDPOINT, REGION = "BACKUP_S3_ENDPOINT", "BACKUP_S3_REGION"
MISSING = ("404", "NoSuchKey")


class Store(Protocol):
    """A bucket, or a folder in one. Names are below it; every method raises BackupError when it is refused."""

    #: Its address.
    address: str

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the names that begin so, sorted, each with its bytes."""

    def read(self, name: str, target: "Target") -> bool:
        """Writes an object's content to `target`; returns False when there is none."""

    def write(self, name: str, file: Path, only_new: bool = False) -> bool:
        """Stores a file, whole or not at all; returns False when only a new object was wanted, and there is one."""

    def remove(self, name: str) -> None:
        """Removes an object; none is no error."""


class S3Store:
    """A bucket of S3, or of a server that speaks its protocol.

    Args:
        bucket: Its name.
        folder: The folder in it; empty: the whole bucket.
    """

    def __init__(self, bucket: str, folder: str) -> None:
        import boto3
        from botocore.config import Config

        self.address = f"s3://{bucket}/{folder}".rstrip("/")
        self._bucket, self._prefix = bucket, f"{folder}/" if folder else ""
        endpoint = os.environ.get(ENDPOINT) or None
        key_id, secret = _s3_key()
        with self._asked():
            self._client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name=os.environ.get(REGION) or "us-east-1",
                aws_access_key_id=key_id,
                aws_secret_access_key=secret,
                config=Config(
                    connect_timeout=10,
                    read_timeout=60,
                    retries={"max_attempts": 4, "mode": "standard"},
                    # Other servers than Amazon's need not have a host name for each bucket.
                    s3={"addressing_style": "path" if endpoint else "auto"},
                ),
            )

    @contextmanager
    def _asked(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
                raise BackupError(f"there is no bucket {self._bucket}") from error
            raise BackupError(f"{self.address} refuses: {one_line(str(error))}") from error
        except (BotoCoreError, ValueError) as error:
            raise BackupError(f"{self.address} does not answer: {one_line(str(error))}") from error

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the names that begin so, sorted, each with its bytes."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with self._asked():
            for page in pages:
                for entry in page.get("Contents", []):
                    yield entry["Key"].removeprefix(self._prefix), entry["Size"]

    def read(self, name: str, target: "Target") -> bool:
        """Writes an object's content to `target`; returns False when there is none."""
        from botocore.exceptions import ClientError

        with self._asked():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if error.response["Error"]["Code"] in MISSING:
                    return False
                raise
            for block in answer["Body"].iter_chunks(BLOCK):
                target.write(block)
        return True

    def write(self, name: str, file: Path, only_new: bool = False) -> bool:
        """Stores a file, whole or not at all; returns False when only a new object was wanted, and there is one."""
        from botocore.exceptions import ClientError

        with self._asked(), file.open("rb") as content:
            place: dict[str, Any] = {"Bucket": self._bucket, "Key": self._prefix + name}
            if not only_new:
                self._client.upload_fileobj(content, **place, Config=upload_settings())
                return True
            try:
                self._client.put_object(**place, Body=content.read(), IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                raise
        return True

    def remove(self, name: str) -> None:
        """Removes an object; none is no error."""
        with self._asked():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


class CloudStore:
    """A bucket of Cloud Storage.

    Args:
        bucket: Its name.
        folder: The folder in it; empty: the whole bucket.
    """

    def __init__(self, bucket: str, folder: str) -> None:
        self.address = f"gs://{bucket}/{folder}".rstrip("/")
        self._prefix = f"{folder}/" if folder else ""
        try:
            self._bucket = google_account.find(KEY_FILE, str(KEY) if _has_key() else None).client().bucket(bucket)
        except google_account.AccountError as error:
            raise BackupError(str(error)) from error

    @contextmanager
    def _asked(self) -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPICallError, NotFound, RetryError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        try:
            yield
        except NotFound as error:
            raise BackupError(f"there is no bucket {self._bucket.name}") from error
        except GoogleAPICallError as error:
            raise BackupError(f"{self.address} refuses: {google_refusals.reason(error)}") from error
        except (GoogleAuthError, RetryError, RequestException) as error:
            raise BackupError(f"{self.address} does not answer: {one_line(str(error))}") from error

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the names that begin so, sorted, each with its bytes."""
        with self._asked():
            for blob in self._bucket.list_blobs(prefix=self._prefix + prefix, timeout=60):
                yield blob.name.removeprefix(self._prefix), int(blob.size)

    def read(self, name: str, target: "Target") -> bool:
        """Writes an object's content to `target`; returns False when there is none."""
        from google.api_core.exceptions import NotFound

        with self._asked():
            try:
                self._bucket.blob(self._prefix + name).download_to_file(target, timeout=60, raw_download=True)
            except NotFound:
                return False
        return True

    def write(self, name: str, file: Path, only_new: bool = False) -> bool:
        """Stores a file, whole or not at all; returns False when only a new object was wanted, and there is one."""
        from google.api_core.exceptions import PreconditionFailed

        with self._asked():
            blob = self._bucket.blob(self._prefix + name, chunk_size=settings.current().gcs_chunk_size)
            try:
                blob.upload_from_filename(str(file), timeout=60, if_generation_match=0 if only_new else None)
            except PreconditionFailed:
                return False
        return True

    def remove(self, name: str) -> None:
        """Removes an object; none is no error."""
        from google.api_core.exceptions import NotFound

        with self._asked():
            try:
                self._bucket.delete_blob(self._prefix + name, timeout=60)
            except NotFound:
                return


def _has_key() -> bool:
    try:
        return KEY.stat().st_size > 0
    except OSError:
        return False


def _s3_key() -> tuple[str, str]:
    """Returns the key pair of the file, which is one as AWS's tools write it."""
    if not _has_key():
        raise BackupError(f"a bucket of S3 needs a key: {KEY_FILE} names a file with {' and '.join(KEY_NAMES)}")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(KEY.read_text())
        section = parser["default"]
        key_id, secret = (section[name] for name in KEY_NAMES)
    except OSError as error:
        raise BackupError(
            f"the key file ({KEY_FILE}) cannot be read: {error.strerror}; user {os.getuid()} has to be able to"
        ) from error
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise BackupError(
            f"the key file ({KEY_FILE}) has no section [default] with {' and '.join(KEY_NAMES)}"
        ) from error
    return key_id, secret


def check_apart(address: str, destination: str) -> None:
    """Raises BackupError where backups would be among the artifacts: each would back up those before it."""
    if address.startswith("s3://") and os.environ.get(ENDPOINT) != os.environ.get("MLFLOW_S3_ENDPOINT_URL"):
        return
    backups, artifacts = (f"{one.rstrip('/')}/" for one in (address, destination))
    if backups.startswith(artifacts) or artifacts.startswith(backups):
        raise BackupError(f"{one_line(address)} is among the stack's artifacts, {destination}: name another bucket")


def open_store(address: str) -> Store:
    """Returns the bucket, or the folder in one, of an address; raises BackupError when it cannot be one."""
    parts = urlsplit(address)
    kinds: dict[str, type[S3Store | CloudStore]] = {"s3": S3Store, "gs": CloudStore}
    folder = parts.path.strip("/")
    if parts.scheme not in kinds or not parts.netloc or parts.netloc != parts.hostname or parts.query or parts.fragment:
        raise BackupError(f"{one_line(address)} is no address of a bucket: s3://BUCKET/FOLDER, or gs://BUCKET/FOLDER")
    return kinds[parts.scheme](parts.netloc, folder)
