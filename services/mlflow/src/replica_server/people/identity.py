"""Who sends a request: a name that the proxy has proven, a token, or the console.

The proxy checks passwords, and sessions of single sign-on. It passes the name on in a header, with a proof that only it
and the server know; nobody else can say a name. With single sign-on it passes a role on too, by the provider's groups.
A token (`mlr_…`) is checked here, without password hashing; with the proxy's proof beside it, it came by the proxy.
The console, which is the command `user` in the proxy's container, has a proof of its own.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, UNAUTHENTICATED

from replica_server.people.cache import PeopleCache
from replica_server.people.roles import ROLES, Person, Role
from replica_server.secret_files import read_secret
from replica_server.text import TOKEN, printable

SECRETS = Path("/run/secrets")
USER, ROLE, PROOF = b"x-replica-user", b"x-replica-role", b"x-replica-proof"
CONSOLE = b"x-replica-console"
#: The services that have a token of their own, which `secrets` makes, and what they may do.
SERVICES = {"serving": Role.VIEWER, "housekeeping": Role.MEMBER}
#: What people and tokens may be called; and the stack's own names: the services, and who asks by the console's proof.
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
TAKEN = (*SERVICES, "console")


@dataclass(frozen=True)
class Proofs:
    """What the server knows people and services by, beside the database.

    Attributes:
        proxy: Proves that a name comes from the proxy.
        console: Proves that a request comes from `user`.
        services: The services that have a token of their own, by its hash.
    """

    proxy: bytes
    console: bytes
    services: dict[bytes, Person]

    @classmethod
    def from_files(cls, secrets: Path = SECRETS) -> "Proofs":
        """Returns what `secrets` has written; exits with status 1 and one line when it has not."""
        services = {
            hashed(read_secret("the token", secrets / name / "token")): Person(name, role, "service")
            for name, role in SERVICES.items()
        }
        proof, console = (read_secret("the proof", secrets / "people" / name).encode() for name in ("proof", "console"))
        return cls(proof, console, services)


def hashed(token: str) -> bytes:
    """Returns what a token is stored as."""
    return hashlib.sha256(token.encode()).digest()


def _only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    found = [value for key, value in headers if key == name]
    if len(found) > 1:
        raise forbidden(f"The header {name.decode()} is there more than once")
    return found[0] if found else None


def forbidden(message: str) -> MlflowException:
    """Returns the refusal of a request whose sender may not send it: status 403."""
    return MlflowException(message, error_code=PERMISSION_DENIED)


def _refuse_login(message: str) -> MlflowException:
    return MlflowException(message, error_code=UNAUTHENTICATED)


def _credentials(header: str) -> tuple[str, str]:
    """Returns the name and the secret in an Authorization header; the name is empty where there is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return "", value.strip()
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise _refuse_login("The login cannot be read: it is not name:password in base64") from None
        return name, secret
    raise _refuse_login("A login is needed: Basic, or Bearer with a token")


async def identify(headers: Iterable[tuple[bytes, bytes]], proofs: Proofs, known: PeopleCache) -> Person:
    """Returns who sends a request with these headers.

    Raises:
        MlflowException: With status 401 or 403; with 503 when the database cannot be asked.
    """
    headers = list(headers)
    console, user, role, proof = (_only(headers, name) for name in (CONSOLE, USER, ROLE, PROOF))
    if console is not None:
        if not hmac.compare_digest(console, proofs.console):
            raise forbidden("The header X-Replica-Console does not hold the console's proof")
        return Person("console", Role.ADMIN, "console")
    if not (user is None and role is None and proof is None):
        lacks_name = user is None and role is not None
        if lacks_name or not hmac.compare_digest(proof or b"", proofs.proxy):
            raise forbidden("A name in X-Replica-User needs the proxy's proof beside it")
    if user is not None:
        name = user.decode("latin-1")
        return await (_by_password(name, known) if role is None else _by_sso(name, role.decode("latin-1"), known))
    given = _only(headers, b"authorization")
    if given is None:
        raise _refuse_login(
            "A login is needed: MLFLOW_TRACKING_TOKEN; or, at the proxy's address, MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD"
        )
    return await _by_token(*_credentials(given.decode("latin-1")), proofs, known)


async def _by_password(name: str, known: PeopleCache) -> Person:
    role = await known.role(name)
    if role is None:
        raise forbidden(
            f"{name} has no role here; an administrator gives one: docker compose exec proxy user role {name} member"
        )
    return Person(name, ROLES[role], "password")


async def _by_sso(name: str, role: str, known: PeopleCache) -> Person:
    if not NAME.fullmatch(name) or name in TAKEN:
        raise forbidden(f"{printable(name)} cannot be a name here: letters, digits and . _ @ - make one, 64 at most")
    if role not in ROLES:
        raise forbidden(f"{printable(role)} is no role: the proxy's image and the server's are of different versions")
    if not await known.note(name, role):
        raise forbidden(
            f"{name} is a user that this stack has made (user list), whom nobody becomes by single sign-on: let"
            " SSO_NAME_CLAIM name people otherwise, or remove the user"
        )
    return Person(name, ROLES[role], "sso")


async def _by_token(claimed: str, secret: str, proofs: Proofs, known: PeopleCache) -> Person:
    if not TOKEN.fullmatch(secret):
        raise _refuse_login("This is no token (mlr_…); passwords are checked by the proxy only, at its own address")
    digest = hashed(secret)
    if service := proofs.services.get(digest):
        return service
    token = await known.token(digest)
    if token is None:
        raise _refuse_login("This token is not known, or has been withdrawn")
    if token.ends <= time.monotonic():
        raise _refuse_login(f"The token {token.name} of {token.owner} has expired")
    if claimed not in ("", token.owner):
        raise _refuse_login(f"The token {token.name} is {token.owner}'s, and the login says another name")
    return Person(token.owner, ROLES[token.role], f"token {token.name}")
