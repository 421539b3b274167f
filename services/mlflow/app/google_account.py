"""Which Google account this container is: the one of a key file, or the one that is attached to the machine.

Nothing else counts: no user's login, and never an anonymous client, to which MLflow would fall back without a word.
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"


class AccountError(Exception):
    """No account can be had; the message is one line that says what to do."""


@dataclass(frozen=True)
class GoogleAccount:
    """An account whose credentials have worked once."""

    email: str
    source: str
    project: str
    credentials: "Credentials"


def read_key() -> str:
    """Returns the content of the key file; empty when none was given. Raises AccountError when it cannot be read."""
    path = os.environ.get(KEY_VARIABLE, "")
    try:
        return Path(path).read_text().strip() if path else ""
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AccountError(
            f"the key file (GCS_KEY_FILE) cannot be read: {reason}; user {os.getuid()} must be able to"
        ) from error
    except UnicodeDecodeError as error:
        raise AccountError("the key file (GCS_KEY_FILE) is not a service account's JSON key") from error


def use_attached_account_without_key() -> None:
    """Lets Google's library look for the attached account when the key file is empty: to it, a broken one."""
    if not read_key():
        os.environ.pop(KEY_VARIABLE, None)


def _from_key(key: str) -> GoogleAccount:
    from google.oauth2 import service_account

    try:
        info = json.loads(key)
        if info["type"] != "service_account":
            raise AccountError(f"the key file (GCS_KEY_FILE) is of type {info['type']}, not service_account")
        credentials = service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError) as error:
        raise AccountError("the key file (GCS_KEY_FILE) is not a service account's JSON key") from error
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
        raise AccountError(
            "no credentials: give a key file (GCS_KEY_FILE), or attach a service account to this Google VM"
        )
    return GoogleAccount("", "attached to this machine", project or "", credentials)


def find() -> GoogleAccount:
    """Returns the account, after fetching a token for it.

    Raises:
        AccountError: There is none, or Google refuses it.
    """
    from google.auth.exceptions import RefreshError, TransportError
    from google.auth.transport.requests import Request

    key = read_key()
    found = _from_key(key) if key else _attached()
    name = found.email or "the attached account"
    try:
        found.credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except RefreshError as error:
        raise AccountError(
            f"{name} is refused: {error.args[0]} (key deleted, account disabled, or clock wrong?)"
        ) from error
    except TransportError as error:
        raise AccountError(f"{name}: no answer from the token endpoint: {error.args[0]}") from error
    # The attached account's address is known only now.
    email = found.email or str(getattr(found.credentials, "service_account_email", "the attached account"))
    return GoogleAccount(email, found.source, found.project, found.credentials)
