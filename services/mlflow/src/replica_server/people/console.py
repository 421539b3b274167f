"""The server's own routes for people: `user` in the proxy's container asks here, and administrators may.

Paths and queries alone say what is wanted, and answers are lines of text: a shell script is the client.
"""

import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs

import psycopg2
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from replica_server import limits
from replica_server.people.access import READING
from replica_server.people.directory import Directory, Rows, UnavailableError
from replica_server.people.identity import NAME, TAKEN, hashed
from replica_server.people.roles import EXPERIMENT, MODEL, ROLES, asking
from replica_server.text import TOKEN, printable

# What browsers, and nobody else, tell of where a request comes from.
FROM_A_PAGE = (b"origin", b"sec-fetch-site")
EXPIRES = re.compile(r"([1-9][0-9]{0,3})([dh])")
USUAL_EXPIRY = "90d"

# What a grant is for may be called anything.
GRANTABLE = {EXPERIMENT: ("member",), MODEL: ("member", "release")}

USERS = "SELECT name, role FROM people.users ORDER BY name"
ADD_USER = "INSERT INTO people.users (name, role) VALUES (%s, %s)"
CHANGE_ROLE = f"{ADD_USER} ON CONFLICT (name) DO UPDATE SET role = excluded.role"
REMOVE_USER = "DELETE FROM people.users WHERE name = %s RETURNING name"
GRANTS = """
SELECT person, role, kind, coalesce(experiments.name, object) FROM people.grants
LEFT JOIN experiments ON kind = 'experiment' AND experiment_id::text = object ORDER BY 1, 3, 4
"""
# The experiment or model, if there is one of that name, and the grant.
THIS = {
    EXPERIMENT: "SELECT experiment_id::text AS object FROM experiments WHERE name = %s",
    MODEL: "SELECT name AS object FROM registered_models WHERE name = %s",
}
ADD_GRANT = """
INSERT INTO people.grants (person, kind, object, role) SELECT %s, %s, object, %s FROM ({this}) AS this
ON CONFLICT (person, kind, object) DO UPDATE SET role = excluded.role RETURNING object
"""
REMOVE_GRANT = """
DELETE FROM people.grants USING ({this}) AS this
WHERE person = %s AND kind = %s AND grants.object = this.object RETURNING grants.object
"""
TOKENS = """
SELECT owner, name, to_char(expires AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
    coalesce(to_char(used AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'), 'never'), expires <= now()
FROM people.tokens WHERE owner = %s OR %s = '' ORDER BY owner, name
"""
ADD_TOKEN = (
    "INSERT INTO people.tokens (hash, owner, name, expires)"  # noqa: S105 - a statement
    " VALUES (%s, %s, %s, now() + make_interval(hours => %s))"
)
REMOVE_TOKEN = "DELETE FROM people.tokens WHERE owner = %s AND name = %s RETURNING name"  # noqa: S105 - a statement


class WrongError(Exception):
    """A request that cannot be carried out; the message says why, in one line."""

    status = HTTPStatus.BAD_REQUEST


class FromPageError(WrongError):
    """A request that a page in a browser has sent."""

    status = HTTPStatus.FORBIDDEN


def _role(query: dict[str, str]) -> str:
    role = query.get("role", "")
    if role not in ROLES:
        raise WrongError(f'"{role}" is no role: there are {", ".join(ROLES)}')
    return role


def _hours(text: str) -> int:
    found = EXPIRES.fullmatch(text)
    hours = int(found[1]) * (24 if found[2] == "d" else 1) if found else 0
    if not 0 < hours <= limits.MOST_TOKEN_DAYS * 24:
        raise WrongError(f'"{text}" is no time for a token: 90d and 12h are, up to {limits.MOST_TOKEN_DAYS}d')
    return hours


def changes_from_page(scope: Scope) -> bool:
    """Tells whether a page in a browser asks for a change: a browser sends the login that it knows with any page's."""
    return scope["method"] not in READING and any(name in FROM_A_PAGE for name, _ in scope["headers"])


class Console:
    """Answers at /people/…, as an ASGI application. Who may ask is decided before (access.py).

    Args:
        directory: The database.
        forget: Called after a change, before it is answered.
    """

    def __init__(self, directory: Directory, forget: Callable[[], None]) -> None:
        self.directory = directory
        self.forget = forget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        _, _, kind, *names = scope["path"].split("/")
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        method = scope["method"]
        try:
            if changes_from_page(scope):
                raise FromPageError("a web page may not change users, roles and tokens")
            for name in names + ([query["owner"]] if "owner" in query and kind == "tokens" else []):
                if TOKEN.fullmatch(name):
                    raise WrongError("this is a token itself: give the name that it has")
                if not NAME.fullmatch(name):
                    raise WrongError("a name is made of letters, digits and . _ @ -, 64 at most")
            if "\0" in "".join(query.values()):
                raise WrongError("a name holds no NUL character")
            if request := asking.get():
                # Not what else a request may hold: somebody may think that a password belongs there.
                known = [one for one in query.items() if one[0] in (*GRANTABLE, "role", "expires")]
                said = [word for one in known for word in (one if one[0] in GRANTABLE else one[1:])]
                request.objects.append(" ".join([*names, *said]))
            text, status = await self._answer(method, kind, names, query), HTTPStatus.OK
        except WrongError as error:
            text, status = str(error), error.status
        except UnavailableError as error:
            text, status = error.message, HTTPStatus.SERVICE_UNAVAILABLE
        if method not in READING:
            # Other servers are told by PostgreSQL; this one does not wait for it.
            self.forget()
        await PlainTextResponse(f"{text}\n" if text else "", status)(scope, receive, send)

    async def _answer(self, method: str, kind: str, names: list[str], query: dict[str, str]) -> str:
        if kind == "me":
            request = asking.get()
            return f"{request.person.name} {request.person.role.word}" if request else ""
        if kind == "users":
            return await self._users(method, names, query)
        if kind == "grants":
            return await self._grants(method, names, query)
        return await self._tokens(method, names, query)

    async def _users(self, method: str, names: list[str], query: dict[str, str]) -> str:
        if names and names[0] in TAKEN:
            raise WrongError(f"{names[0]} is a name of the stack's own")
        if method == "POST":
            there = f"{names[0]} is there already: user role changes the role, and user add without --role the password"
            await self._insert(ADD_USER, names[0], _role(query), there=there)
        elif method == "PATCH":
            await self.directory.find(CHANGE_ROLE, names[0], _role(query))
        elif method == "DELETE":
            if not await self.directory.find(REMOVE_USER, names[0]):
                raise WrongError(f'there is no user "{names[0]}"')
        else:
            return "\n".join(f"{name} {role}" for name, role in await self.directory.find(USERS))
        return ""

    async def _grants(self, method: str, names: list[str], query: dict[str, str]) -> str:
        if method not in ("POST", "DELETE"):
            rows = await self.directory.find(GRANTS)
            return "\n".join(f"{person} {role} {kind} {printable(name)}" for person, role, kind, name in rows)
        kinds = [kind for kind in GRANTABLE if query.get(kind)]
        if len(kinds) != 1:
            raise WrongError("say what it is for: one experiment, or one registered model")
        (kind,), (person,) = kinds, names
        shown = f'{kind} "{printable(query[kind])}"'
        if method == "DELETE":
            statement = REMOVE_GRANT.format(this=THIS[kind])
            if not await self.directory.find(statement, query[kind], person, kind):
                raise WrongError(f"{person} has no grant for the {shown}")
            return ""
        role = _role(query)
        if role not in GRANTABLE[kind]:
            raise WrongError(f"{role} cannot be granted for one {kind}: {' and '.join(GRANTABLE[kind])} can")
        statement = ADD_GRANT.format(this=THIS[kind])
        if not await self._insert(statement, person, kind, role, query[kind], person=person, there=""):
            raise WrongError(f"there is no {shown}")
        return ""

    async def _tokens(self, method: str, names: list[str], query: dict[str, str]) -> str:
        if method == "POST":
            owner, name = names
            hours = _hours(query.get("expires", USUAL_EXPIRY))
            token = f"mlr_{secrets.token_urlsafe(32)}"
            await self._insert(
                ADD_TOKEN,
                hashed(token),
                owner,
                name,
                hours,
                person=owner,
                there=f"{owner} has a token {name} already: remove it first",
            )
            return token
        if method == "DELETE":
            if not await self.directory.find(REMOVE_TOKEN, *names):
                raise WrongError(f"{names[0]} has no token {names[1]}")
            return ""
        rows = await self.directory.find(TOKENS, query.get("owner", ""), query.get("owner", ""))
        return "\n".join(
            f"{owner} {name} expires {expires} used {used}{' (expired)' if expired else ''}"
            for owner, name, expires, used, expired in rows
        )

    async def _insert(self, statement: str, *values: object, there: str, person: str = "") -> Rows:
        try:
            return await self.directory.find(statement, *values)
        except psycopg2.errors.UniqueViolation:
            raise WrongError(there) from None
        except psycopg2.errors.ForeignKeyViolation:
            raise WrongError(f'there is no user "{person}" with a role') from None
