"""Checks the Cloud Storage bucket before the server starts, and tells the server where its artifacts go.

What the server will do is done here first, with its own account: create, read and list under a reserved prefix, and
replace, if names can be written again (artifacts/overwriting.py). Each failure is one line that names the role that is
missing, and the stack stays down. An account that may do more than that is warned about, because whoever has the
server has its account.
"""

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from replica_server import settings
from replica_server.artifacts import destination as address_file
from replica_server.artifacts import google_account, google_refusals
from replica_server.artifacts.google_refusals import OVERWRITE
from replica_server.text import one_line

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

CREATOR = "roles/storage.objectCreator"
VIEWER = "roles/storage.objectViewer"
USER = "roles/storage.objectUser"
RESERVED = ".preflight"
# What the account should not be able to do, and what would be worst in wrong hands: in any case, and beside that where
# no name is written again.
EXCESS = (
    "storage.objects.setIamPolicy",
    "storage.buckets.update",
    "storage.buckets.delete",
    "storage.buckets.setIamPolicy",
)
STRICT_EXCESS = (OVERWRITE, "storage.objects.update")
SECONDS = 30.0
PATIENCE = 15.0


class CheckError(Exception):
    """A check failed; the message is one line."""


def destination(bucket: str, prefix: str) -> str:
    """Returns the artifacts' address.

    Raises:
        CheckError: The bucket or the prefix cannot be used.
    """
    if not bucket:
        raise CheckError("GCS_BUCKET is not set: name the bucket for the artifacts")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", bucket):
        raise CheckError(f"GCS_BUCKET is not the name of a bucket: {bucket} (only the name, without gs:// or a folder)")
    prefix = prefix.strip("/")
    if not re.fullmatch(r"[\w.-]*(/[\w.-]+)*", prefix):
        raise CheckError(f"GCS_PREFIX may have letters, digits, dots, dashes, underscores and single slashes: {prefix}")
    # Google takes them for names like any other; most tools, and MLflow's own check of paths, take them for folders.
    if {".", ".."} & set(prefix.split("/")):
        raise CheckError(f"GCS_PREFIX may not have . or .. as a folder's name: {prefix}")
    return f"gs://{bucket}/{prefix}".rstrip("/") + "/"


def check_environment() -> None:
    """Refuses the variable that turns Google's client anonymous: with it, nothing below would mean anything."""
    if settings.current().gcs_emulator:
        raise CheckError(
            "STORAGE_EMULATOR_HOST is set: it makes Google's client anonymous; unset it in the gcs profile"
        )


class BucketCheck:
    """Does with the bucket what the server will do, and collects what is refused."""

    def __init__(self, bucket: "Bucket", folder: str, email: str) -> None:
        self._bucket = bucket
        self._email = email
        # A new name each time: an account that overwrites nothing can use a name once.
        self._name = f"{folder}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
        self._content = b"Written by the preflight check; safe to delete.\n"
        self.failures: list[str] = []

    def run(self) -> None:
        """Tries all, so that two missing roles are two lines and not two starts."""
        replaces = settings.current().overwrite
        writer, reader = (USER, USER) if replaces else (CREATOR, VIEWER)
        created = self._attempt("storage.objects.create", writer, self._create)
        if replaces and created:
            self._attempt(OVERWRITE, writer, self._replace)
        self._attempt("storage.objects.get", reader, self._read if created else self._read_absent)
        self._attempt("storage.objects.list", reader, self._list if created else self._list_absent)

    def excess(self) -> list[str]:
        """Returns the permissions that the account holds and the server does not need."""
        asked_for = EXCESS if settings.current().overwrite else (*STRICT_EXCESS, *EXCESS)
        return list(self._bucket.test_iam_permissions(asked_for, timeout=SECONDS))

    def _attempt(self, permission: str, role: str, operation: Callable[[], None]) -> bool:
        from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound
        from google.auth.exceptions import GoogleAuthError
        from requests import RequestException

        address = f"gs://{self._bucket.name}"
        try:
            operation()
        except Forbidden as error:
            if permission in str(error):
                failure = f"{self._email} lacks {permission} on {address}: grant it {role} on this bucket"
                if permission == OVERWRITE:
                    failure += f", or set {settings.OVERWRITE}=refuse"
            else:
                failure = f"{permission} on {address} is refused: {google_refusals.reason(error)}"
        except NotFound as error:
            missing = "bucket does not exist" in str(error)
            failure = f"there is no bucket {address}" if missing else f"{address}: {one_line(str(error))}"
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            # Not an answer about permissions: the next one would be the same, and as late.
            raise CheckError(f"{permission} on {address} failed: {one_line(str(error))}") from error
        else:
            return True
        if failure not in self.failures:
            self.failures.append(failure)
        return False

    def _write(self, content: bytes) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        self._bucket.blob(self._name).upload_from_string(
            content, content_type="text/plain", timeout=SECONDS, retry=DEFAULT_RETRY.with_timeout(SECONDS)
        )

    def _create(self) -> None:
        from google.api_core.exceptions import Forbidden

        try:
            self._write(self._content)
        except Forbidden as error:
            # The answer to the first attempt was lost: the second would overwrite what is there. Whether it is what was
            # written is seen when it is read.
            if OVERWRITE not in str(error):
                raise

    def _replace(self) -> None:
        again = b"Written again by the preflight check; safe to delete.\n"
        self._write(again)
        self._content = again

    def _read(self) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        blob = self._bucket.blob(self._name)
        content = blob.download_as_bytes(timeout=SECONDS, retry=DEFAULT_RETRY.with_timeout(SECONDS))
        if content != self._content:
            self.failures.append(f"gs://{self._bucket.name}/{self._name} holds other bytes than were written")

    def _read_absent(self) -> None:
        from google.api_core.exceptions import NotFound

        try:
            self._read()
        except NotFound as error:
            # "No such object" is an answer that only an account which may read gets.
            if "bucket does not exist" in str(error):
                raise

    def _names(self) -> list[str]:
        from google.cloud.storage.retry import DEFAULT_RETRY

        blobs = self._bucket.list_blobs(
            prefix=self._name, max_results=1, timeout=SECONDS, retry=DEFAULT_RETRY.with_timeout(SECONDS)
        )
        return [blob.name for blob in blobs]

    def _list(self) -> None:
        if self._names() != [self._name]:
            self.failures.append(f"gs://{self._bucket.name}/{self._name} was written, and the list does not show it")

    def _list_absent(self) -> None:
        self._names()


def find_account(wait: float = PATIENCE) -> google_account.GoogleAccount:
    """Returns the server's account, waiting for its token: where all starts at once, who issues it may be up last.

    Raises:
        AccountError: There is none, it is refused, or no token has come in `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            return google_account.find()
        except google_account.NotYetError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def check() -> str:
    """Runs all checks and returns the artifacts' address; exits with status 1 after one line for each failure."""
    check_environment()
    address = destination(settings.current().gcs_bucket, settings.current().gcs_prefix)
    account = find_account()
    print(f"preflight: {account.email} ({account.source})", flush=True)
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    client = account.client()
    bucket_name, _, prefix = address.removeprefix("gs://").partition("/")
    checks = BucketCheck(client.bucket(bucket_name), f"{prefix}{RESERVED}/", account.email)
    checks.run()
    if checks.failures:
        for failure in checks.failures:
            print(f"preflight: error: {failure}", file=sys.stderr, flush=True)
        sys.exit(1)
    try:
        enough = f"{USER} is enough" if settings.current().overwrite else f"{CREATOR} and {VIEWER} are enough"
        if excess := checks.excess():
            print(
                f"preflight: warning: {account.email} holds more than the server needs on gs://{bucket_name}: "
                f"{', '.join(excess)}; {enough}",
                file=sys.stderr,
                flush=True,
            )
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        print(f"preflight: warning: cannot tell what else the account may do: {one_line(str(error))}", file=sys.stderr)
    return address


def main() -> None:
    """Checks, and lets the server start.

    Compose starts the server even when this fails, because it is one of two services of which only one is in a profile.
    So a failure takes away the address that an earlier success has left: without it, the server refuses to start.
    """
    try:
        address = check()
    except BaseException as error:
        address_file.refuse_destination()
        if isinstance(error, CheckError | google_account.AccountError):
            sys.exit(f"preflight: error: {error}")
        raise
    address_file.write_destination(address)
    allowed = "create, replace, read and list" if settings.current().overwrite else "create, read and list"
    print(f"preflight: artifacts go to {address}; {allowed} are allowed")
