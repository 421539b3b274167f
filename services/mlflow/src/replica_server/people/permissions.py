"""MLflow's own API for people's permissions, answered out of this stack's roles and grants, for administrators.

It is what MLflow's client for its basic-auth application asks (`mlflow.server.get_app_client`). READ is what everyone
with a role has; EDIT is the grant `member`, and MANAGE of a registered model the grant `release`. Nothing else can be
expressed here, and is refused with one line: nothing is hidden, and accounts are the proxy's.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg2
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from replica_server.people.access import READING
from replica_server.people.console import ADD_GRANT, REMOVE_GRANT, USERS, changes_from_page
from replica_server.people.directory import Directory
from replica_server.people.identity import forbidden
from replica_server.people.roles import EXPERIMENT, MODEL, ROLES, Role, asking
from replica_server.requests import answers, routes
from replica_server.text import printable

#: The routes: what follows is what is asked for.
ROUTE = re.compile(rf"{routes.API}/mlflow/users/(.+)", re.DOTALL)
# The bytes of a request's body, which names a person and an object.
LARGEST = 2**16

READ, EDIT, MANAGE = "READ", "EDIT", "MANAGE"
# MLflow's words for what there are grants for.
KINDS = {"experiment": EXPERIMENT, "registered_model": MODEL}
WORDS = {kind: word for word, kind in KINDS.items()}
# What can be granted, and what each role is called by MLflow: for an experiment, `release` may do what a member may.
GRANTS = {EXPERIMENT: {EDIT: Role.MEMBER}, MODEL: {EDIT: Role.MEMBER, MANAGE: Role.RELEASE}}
LEVELS = {
    EXPERIMENT: {Role.VIEWER: READ, Role.MEMBER: EDIT, Role.RELEASE: EDIT, Role.ADMIN: MANAGE},
    MODEL: {Role.VIEWER: READ, Role.MEMBER: EDIT, Role.RELEASE: MANAGE, Role.ADMIN: MANAGE},
}
USER = "SELECT name, role FROM people.users WHERE name = %s"
OF_PERSON = "SELECT kind, object, role FROM people.grants WHERE person = %s ORDER BY kind, object"
# An experiment is named by its id, which is a number to the database; a registered model by its name.
THIS = {
    EXPERIMENT: "SELECT experiment_id::text AS object FROM experiments WHERE experiment_id::text = %s",
    MODEL: "SELECT name AS object FROM registered_models WHERE name = %s",
}


def _wrong(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


def _missing(message: str) -> MlflowException:
    return MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)


class Permissions:
    """Answers these routes, as an ASGI application. Who may ask is decided before (access.py).

    Args:
        directory: The database.
        forget: Called after a change, before it is answered.
    """

    def __init__(self, directory: Directory, forget: Callable[[], None]) -> None:
        self.directory = directory
        self.forget = forget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        found = ROUTE.fullmatch(scope["path"])
        try:
            if changes_from_page(scope):
                raise forbidden("A web page may not change users, roles and tokens")
            asked = await _asked(Request(scope, receive))
            answer = JSONResponse(await self._answer(found[1] if found else "", asked))
        except MlflowException as error:
            answer = answers.refusal(error)
        if scope["method"] not in READING:
            self.forget()
        await answer(scope, receive, send)

    async def _answer(self, what: str, asked: dict[str, str]) -> dict[str, Any]:
        if what == "list":
            rows = await self.directory.find(USERS)
            return {"users": [{**_user(name, role), "roles": []} for name, role in rows]}
        name, role = await self._person(asked)
        if what == "get":
            return {"user": _user(name, role.word)}
        if what == "permissions/list":
            return {"is_admin": role == Role.ADMIN, "permissions": await self._rows(name)}
        kind, key = _object(asked)
        if what == "permissions/get":
            level = LEVELS[kind][await self._role_on(name, role, kind, key)]
            return {"allowed": level != READ, "permission": level}
        if request := asking.get():
            request.objects.append(f"{name} {asked.get('permission', '')} {kind} {printable(key)}".replace("  ", " "))
        if what == "permissions/grant":
            await self._grant(name, kind, key, asked.get("permission", ""))
        elif not await self.directory.find(REMOVE_GRANT.format(this=THIS[kind]), key, name, kind):
            raise _missing(f"{name} has no grant for the {kind} {printable(key)}")
        return {}

    async def _person(self, asked: dict[str, str]) -> tuple[str, Role]:
        name = asked.get("username", "")
        rows = await self.directory.find(USER, name)
        if not rows:
            raise _missing(f"There is no user {printable(name)} with a role: docker compose exec proxy user add")
        return rows[0][0], ROLES[rows[0][1]]

    async def _rows(self, name: str) -> list[dict[str, Any]]:
        """Returns a person's grants as MLflow lists them: each as if by a role that nobody else has."""
        return [
            {
                "role_id": 0,
                "role_name": f"__user_{name}__",
                "workspace": "default",
                "resource_type": WORDS[kind],
                "resource_pattern": key,
                "permission": LEVELS[kind][ROLES[role]],
            }
            for kind, key, role in await self.directory.find(OF_PERSON, name)
        ]

    async def _role_on(self, name: str, role: Role, kind: str, key: str) -> Role:
        rows = await self.directory.find(OF_PERSON, name)
        return max([role, *(ROLES[word] for what, one, word in rows if (what, one) == (kind, key))])

    async def _grant(self, name: str, kind: str, key: str, permission: str) -> None:
        if permission == READ:
            # Which everyone with a role has: what is more than that ends.
            await self.directory.find(REMOVE_GRANT.format(this=THIS[kind]), key, name, kind)
            return
        role = GRANTS[kind].get(permission)
        if role is None:
            known = ", ".join([READ, *GRANTS[kind]])
            raise _wrong(
                f"{printable(permission)} cannot be granted for one {kind}: {known} can; nothing is hidden here"
            )
        try:
            added = await self.directory.find(ADD_GRANT.format(this=THIS[kind]), name, kind, role.word, key)
        except psycopg2.errors.ForeignKeyViolation:
            raise _missing(f"{name} has just been removed") from None
        if not added:
            raise _missing(f"There is no {kind} {printable(key)}")


async def _asked(request: Request) -> dict[str, str]:
    """Returns what a request says: its query, and the texts in its body."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise _wrong(f"The body is larger than {LARGEST:,} bytes")
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        raise _wrong("The body is no JSON") from None
    if not isinstance(content, dict):
        raise _wrong("The body is no JSON object")
    asked = {**request.query_params, **{name: value for name, value in content.items() if isinstance(value, str)}}
    if "\0" in "".join(asked.values()):
        raise _wrong("A name holds no NUL character")
    return asked


def _object(asked: dict[str, str]) -> tuple[str, str]:
    kind = KINDS.get(asked.get("resource_type", ""))
    if kind is None:
        given = printable(asked.get("resource_type", "")) or "nothing"
        raise _wrong(f"There are grants for {' and '.join(KINDS)}, not for {given}")
    if not asked.get("resource_id"):
        raise _wrong("resource_id is missing: an experiment's id, or a registered model's name")
    return kind, asked["resource_id"]


def _user(name: str, role: str) -> dict[str, Any]:
    return {"id": name, "username": name, "is_admin": ROLES[role] == Role.ADMIN}
