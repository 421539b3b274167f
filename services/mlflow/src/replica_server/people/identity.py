"""Who sends a request: a name that the proxy has proven, a token, or the console.

The proxy checks passwords. It passes the name on in a header, with a proof that only it and the server know; nobody
else can say a name. A token (`mlr_…`) is checked here, by one query without password hashing. The console, which is the
command `user` in the proxy's container, has a proof of its own.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, UNAUTHENTICATED

from replica_server.people.roles import ROLES, Person, Role
from replica_server.secret_files import read_secret

PEOPLE, SERVING = Path("/run/secrets/people"), Path("/run/secrets/serving")
USER, PROOF, CONSOLE = b"x-replica-user", b"x-replica-proof", b"x-replica-console"
TOKEN = re.compile(r"mlr_[A-Za-z0-9_-]{43}")

ROLE_OF = "SELECT role FROM people.users WHERE name = %s"
WHOSE = (
    "SELECT users.name, users.role, tokens.name, expires <= now(), coalesce(used < now() - interval '1 minute', true)"
    " FROM people.tokens JOIN people.users ON users.name = tokens.owner WHERE hash = %s"
)
USED = "UPDATE people.tokens SET used = now() WHERE hash = %s"


class Lookup(Protocol):
    """What is asked of the database."""

    async def find(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Returns a statement's rows."""


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
    def from_files(cls, people: Path = PEOPLE, serving: Path = SERVING) -> "Proofs":
        """Returns what `secrets` has written; exits with status 1 and one line when it has not."""
        token = read_secret("the token", serving / "token")
        services = {hashed(token): Person("serving", Role.VIEWER, "service")}
        proof, console = (read_secret("the proof", people / name).encode() for name in ("proof", "console"))
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


async def identify(headers: Iterable[tuple[bytes, bytes]], proofs: Proofs, directory: Lookup) -> Person:
    """Returns who sends a request with these headers.

    Raises:
        MlflowException: With status 401 or 403; with 503 when the database cannot be asked.
    """
    headers = list(headers)
    console, user, proof = (_only(headers, name) for name in (CONSOLE, USER, PROOF))
    if console is not None:
        if not hmac.compare_digest(console, proofs.console):
            raise forbidden("The header X-Replica-Console does not hold the console's proof")
        return Person("console", Role.ADMIN, "console")
    if user is not None or proof is not None:
        if user is None or not hmac.compare_digest(proof or b"", proofs.proxy):
            raise forbidden("A name in X-Replica-User needs the proxy's proof beside it")
        name = user.decode("latin-1")
        rows = await directory.find(ROLE_OF, name)
        if not rows:
            raise forbidden(
                f"{name} has no role here; an administrator gives one:"
                f" docker compose exec proxy user role {name} member"
            )
        return Person(name, ROLES[str(rows[0][0])], "password")
    given = _only(headers, b"authorization")
    if given is None:
        raise _refuse_login(
            "A login is needed: MLFLOW_TRACKING_TOKEN; or, at the proxy's address, MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD"
        )
    return await _by_token(*_credentials(given.decode("latin-1")), proofs, directory)


async def _by_token(claimed: str, secret: str, proofs: Proofs, directory: Lookup) -> Person:
    if not TOKEN.fullmatch(secret):
        raise _refuse_login("This is no token (mlr_…); passwords are checked by the proxy only, at its own address")
    token = hashed(secret)
    if service := proofs.services.get(token):
        return service
    rows = await directory.find(WHOSE, token)
    if not rows:
        raise _refuse_login("This token is not known, or has been withdrawn")
    name, role, called, expired, mark = rows[0]
    if expired:
        raise _refuse_login(f"The token {called} of {name} has expired")
    if claimed not in ("", name):
        raise _refuse_login(f"The token {called} is {name}'s, and the login says another name")
    if mark:
        await directory.find(USED, token)
    return Person(str(name), ROLES[str(role)], f"token {called}")
