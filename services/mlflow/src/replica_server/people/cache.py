"""What the database says of people, kept in memory until it changes.

PostgreSQL notifies each server that listens when users, grants or tokens change (schema.py). Before an answer is taken
from memory, the notifications that have arrived are read: so a change takes effect at once in every server. While a
server has no connection that listens, it takes nothing from memory, and asks the database. If that does not answer,
nobody is let in.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
from mlflow.exceptions import MlflowException

from replica_server import limits
from replica_server.people.roles import ROLES, Object, Role

if TYPE_CHECKING:
    from psycopg2.extensions import connection

ROLE_OF = "SELECT role FROM people.users WHERE name = %s"
GRANTS = "SELECT kind, object, role FROM people.grants WHERE person = %s"
# A token of somebody who comes by single sign-on also ends when they have not been here for so many days.
WHOSE = (
    "SELECT users.name, users.role, tokens.name,"
    " extract(epoch FROM least(expires, sso_seen + make_interval(days => %s)) - now())::float8,"
    " coalesce(used < now() - interval '1 minute', true)"
    " FROM people.tokens JOIN people.users ON users.name = tokens.owner WHERE hash = %s"
)
USED = "UPDATE people.tokens SET used = now() WHERE hash = %s"
SSO_ROLE_OF = "SELECT role FROM people.users WHERE name = %s AND sso_seen = current_date"
# Notes a person's role by their groups at the provider, and that they were here today; a change of the role goes into
# the record. Their tokens have the new role, too. It returns no row for a person whom the command `user` has made, and
# who stays as they are.
NOTE = """
WITH before AS (
    SELECT role FROM people.users WHERE name = %s
), noted AS (
    INSERT INTO people.users (name, role, sso_seen) VALUES (%s, %s, current_date)
    ON CONFLICT (name) DO UPDATE SET role = excluded.role, sso_seen = excluded.sso_seen WHERE users.sso_seen IS NOT NULL
    RETURNING name, role
), recorded AS (
    INSERT INTO people.record (person, by, address, action, object, status)
    SELECT name, 'sso', '', 'change-role', name || ' ' || role, 200 FROM noted
    WHERE role IS DISTINCT FROM (SELECT role FROM before)
)
SELECT name FROM noted
"""

# Seconds for which an answer is kept, in case that a connection pooler swallows PostgreSQL's notifications.
KEPT = 5.0
# How many answers are kept, some 500 bytes each. Strangers' tokens are not among them.
MOST = 4096
# Seconds between two attempts to listen.
AGAIN = 1.0


class Lookup(Protocol):
    """What is asked of the database."""

    async def find(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Returns a statement's rows."""

    async def listen(self) -> "connection | None":
        """Returns a connection on which PostgreSQL notifies of changes; None where none can be had."""


@dataclass(frozen=True)
class Token:
    """A token that the database knows.

    Attributes:
        owner: Whose it is.
        role: What its owner may do.
        name: What its owner calls it.
        ends: When it expires, by this process's monotonic clock.
    """

    owner: str
    role: str
    name: str
    ends: float


class PeopleCache:
    """Answers about people: from memory while PostgreSQL would notify of a change, and else from the database.

    All of it is used by the event loop alone.

    Args:
        directory: The database.
        clock: Returns the seconds of a monotonic clock.
        sso_token_days: For how long tokens go on of people whom single sign-on has not seen since.
    """

    def __init__(
        self,
        directory: Lookup,
        clock: Callable[[], float] = time.monotonic,
        *,
        sso_token_days: int = limits.MOST_TOKEN_DAYS,
    ) -> None:
        self._directory = directory
        self._sso_token_days = sso_token_days
        self._clock = clock
        self._answers: dict[object, tuple[float, Any]] = {}
        # How often something has changed, as far as this server knows.
        self._changes = 0
        self._told_by: connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def role(self, name: str) -> str | None:
        """Returns the role of a person; None: there is none."""

        async def ask() -> str | None:
            rows = await self._directory.find(ROLE_OF, name)
            return str(rows[0][0]) if rows else None

        found: str | None = await self._answer(name, ask)
        return found

    async def grants(self, name: str) -> dict[Object, Role]:
        """Returns what a person has been granted beside their role."""

        async def ask() -> dict[Object, Role]:
            rows = await self._directory.find(GRANTS, name)
            return {(kind, key): ROLES[role] for kind, key, role in rows}

        found: dict[Object, Role] = await self._answer(("grants", name), ask)
        return found

    async def token(self, digest: bytes) -> Token | None:
        """Returns what a token stands for, also when it has expired; None: it is not known."""

        async def ask() -> Token | None:
            asked = self._clock()
            rows = await self._directory.find(WHOSE, self._sso_token_days, digest)
            if not rows:
                return None
            owner, role, name, left, mark = rows[0]
            if mark and left > 0:
                await self._directory.find(USED, digest)
            return Token(owner, role, name, asked + left)

        found: Token | None = await self._answer(digest, ask)
        return found

    async def note(self, name: str, role: str) -> bool:
        """Gives a person the role that single sign-on says; False: the command `user` has made one of this name."""

        async def ask() -> str | None:
            rows = await self._directory.find(SSO_ROLE_OF, name)
            return str(rows[0][0]) if rows else None

        if await self._answer(("sso", name), ask) == role:
            return True
        noted = await self._directory.find(NOTE, name, name, role)
        self.forget()
        return bool(noted)

    def forget(self) -> None:
        """Forgets all answers, also those that are being asked for now."""
        self._changes += 1
        self._answers.clear()

    async def _answer(self, key: object, ask: Callable[[], Any]) -> Any:
        if self._is_told():
            until, kept = self._answers.get(key, (0.0, None))
            if self._clock() < until:
                return kept
        before, asked = self._changes, self._clock()
        found = await ask()
        # Where something has changed meanwhile, the answer may be from before the change.
        if found is not None and self._is_told() and self._changes == before:
            if len(self._answers) >= MOST:
                self._answers.clear()
            self._answers[key] = asked + KEPT, found
        return found

    def _is_told(self) -> bool:
        """Reads the notifications that have arrived; returns whether there is a connection on which they arrive."""
        if self._told_by is None:
            self._open_in_background()
            return False
        try:
            # This does not wait: it reads what has arrived, and fails where the connection has ended.
            self._told_by.poll()
        except psycopg2.Error:
            self._told_by.close()
            self._told_by = None
            self.forget()
            return False
        if self._told_by.notifies:
            self._told_by.notifies.clear()
            self.forget()
        return True

    def _open_in_background(self) -> None:
        if self._opening is None and self._clock() >= self._not_before:
            self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        try:
            self._told_by = await self._directory.listen()
            # What was asked before this connection listened may have changed before it did.
            self.forget()
        except MlflowException:
            # The request that needs it asks the database, and tells why it does not answer.
            self._told_by = None
        finally:
            self._not_before = self._clock() + AGAIN
            self._opening = None
