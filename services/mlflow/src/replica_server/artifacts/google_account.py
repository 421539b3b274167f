"""Which Google account this container is: the one of a key file, or the one that is attached to the machine.

Nothing else counts: no user's login, and never an anonymous client, to which MLflow would fall back without a word.
"""

import json
import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from replica_server import settings
from replica_server.settings import GOOGLE_KEY as KEY_VARIABLE
from replica_server.text import one_line

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage import Bucket, Client

# The setting that names the server's key file; garbage collection has one of its own.
SERVER_KEY = "GCS_KEY_FILE"
SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"


class AccountError(Exception):
    """No account can be had; the message is one line that says what to do."""


class NotYetError(AccountError):
    """None can be had at present; a later attempt may succeed without anybody's doing."""


@dataclass(frozen=True)
class GoogleAccount:
    """An account whose credentials have worked once."""

    email: str
    source: str
    project: str
    credentials: "Credentials"

    def client(self) -> "Client":
        """Returns a client of Cloud Storage with this identity; raises AccountError when it takes no such one."""
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        try:
            return storage.Client(project=self.project or "none", credentials=self.credentials)
        except GoogleAuthError as error:
            raise AccountError(f"{self.email} cannot be used: {one_line(str(error))}") from error


def read_key(setting: str = SERVER_KEY, path: str | None = None) -> str:
    """Returns the content of the key file; empty when none was given.

    Args:
        setting: What the message names.
        path: Where it is; None: where this process's settings say.

    Raises:
        AccountError: It cannot be read.
    """
    path = settings.current().google_key_file if path is None else path
    try:
        # Whoever gives none has an empty one mounted, which this user may not be able to read.
        return Path(path).read_text().strip() if path and Path(path).stat().st_size else ""
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AccountError(
            f"the key file ({setting}) cannot be read: {reason}; it must be a file that user {os.getuid()} may read"
        ) from error
    except UnicodeDecodeError as error:
        raise AccountError(f"the key file ({setting}) is not a service account's JSON key") from error


def _from_key(key: str, setting: str) -> GoogleAccount:
    from google.oauth2 import service_account

    try:
        info = json.loads(key)
        if info["type"] != "service_account":
            raise AccountError(f"the key file ({setting}) is of type {info['type']}, not service_account")
        credentials = service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError) as error:
        raise AccountError(f"the key file ({setting}) is not a service account's JSON key") from error
    return GoogleAccount(credentials.service_account_email, "key file", info.get("project_id", ""), credentials)


def _attached() -> GoogleAccount:
    import google.auth
    from google.auth.compute_engine import Credentials
    from google.auth.exceptions import DefaultCredentialsError

    os.environ.pop(KEY_VARIABLE, None)
    # The library logs each attempt to find the machine's metadata service; that there is none is said below, once.
    logging.getLogger("google.auth").setLevel(logging.CRITICAL)
    try:
        credentials, project = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError:
        credentials, project = None, None
    if not isinstance(credentials, Credentials):
        raise NotYetError(
            "no credentials: give a key file (GCS_KEY_FILE), or attach a service account to this Google VM"
        )
    return GoogleAccount("", "attached to this machine", project or "", credentials)


def explained(error: "GoogleAuthError", name: str) -> AccountError:
    """Returns what to say when an account gets no token: that it is refused, or that nobody answers at present."""
    from google.auth.exceptions import TransportError

    cause = error.args[0] if error.args else error
    if error.retryable or isinstance(error, TransportError) or isinstance(cause, TransportError):
        return NotYetError(f"{name} gets no token at present: {one_line(str(cause))}")
    return AccountError(f"{name} is refused: {one_line(str(cause))} (key deleted, account disabled, or clock wrong?)")


def find(setting: str = SERVER_KEY, path: str | None = None) -> GoogleAccount:
    """Returns the account, after fetching a token for it.

    Args:
        setting: What the messages call the key file.
        path: Where that is; None: where this process's settings say.

    Raises:
        AccountError: There is none, or Google refuses it.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    key = read_key(setting, path)
    found = _from_key(key, setting) if key else _attached()
    try:
        found.credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        raise explained(error, found.email or "the account attached to this machine") from error
    # The attached account's address is known only now.
    email = found.email or str(getattr(found.credentials, "service_account_email", "the attached account"))
    return GoogleAccount(email, found.source, found.project, found.credentials)


@cache
def _shared_client() -> "Client":
    # An error is not kept: the next call tries again.
    return find().client()


class LateClient:
    """What MLflow's repository needs of Google's client, which is made at its first use.

    After a power loss the server may be up before the machine's metadata service. So the account is looked for when an
    artifact is wanted, by the thread that waits for it, and again at each request until there is one.
    """

    def bucket(self, name: str) -> "Bucket":
        """Returns a bucket; raises AccountError as long as there is no account."""
        return _shared_client().bucket(name)
