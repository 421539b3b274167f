"""MLflow's own API for people's permissions, answered out of this stack's roles and grants.

It is what MLflow's client for its basic-auth application asks (`mlflow.server.get_app_client`), and MLflow's admin
page. Nothing else can be expressed here, and is refused with one line: nothing is hidden, there are four roles, and
accounts are the proxy's.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg2
from mlflow.exceptions import MlflowException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from replica_server.people import permission_words as words
from replica_server.people.access import READING
from replica_server.people.admin_host import AdminHost
from replica_server.people.console import ADD_GRANT, REMOVE_GRANT, USERS, changes_from_page
from replica_server.people.directory import Directory
from replica_server.people.identity import forbidden
from replica_server.people.permission_request import NOT_HERE, Asked, asker, note, object_of, read, role_of
from replica_server.people.permission_words import missing, wrong
from replica_server.people.roles import EXPERIMENT, MODEL, ROLES, Role
from replica_server.requests import answers, routes
from replica_server.text import printable

#: The routes: what follows is what is asked for.
ROUTE = re.compile(rf"{routes.API}/mlflow/((?:users|roles)/.+)", re.DOTALL)

USER = "SELECT name, role FROM people.users WHERE name = %s"
SET_ROLE = "UPDATE people.users SET role = %s WHERE name = %s RETURNING name"
OF_PERSON = "SELECT kind, object, role FROM people.grants WHERE person = %s ORDER BY kind, object"
# An experiment is named by its id, which is a number to the database; a registered model by its name.
THIS = {
    EXPERIMENT: "SELECT experiment_id::text AS object FROM experiments WHERE experiment_id::text = %s",
    MODEL: "SELECT name AS object FROM registered_models WHERE name = %s",
}

Answer = dict[str, Any]


class Permissions:
    """Answers these routes, as an ASGI application. Who may ask is decided before (access.py).

    Args:
        directory: The database.
        forget: Called after a change, before it is answered.
        admin_host: The host at which a page may change something.
    """

    def __init__(self, directory: Directory, forget: Callable[[], None], admin_host: AdminHost) -> None:
        self.directory = directory
        self.forget = forget
        self.admin_host = admin_host
        self.routes: dict[str, Callable[[Asked], Awaitable[Answer]]] = {
            "users/current": self._me,
            "users/current/permissions": self._my_permissions,
            "users/get": self._user,
            "users/list": self._users,
            "users/permissions/get": self._level,
            "users/permissions/grant": self._grant,
            "users/permissions/list": self._grants,
            "users/permissions/revoke": self._revoke,
            "users/roles/list": self._roles_of,
            "users/update-admin": self._make_admin,
            "roles/assign": self._assign,
            "roles/get": self._role,
            "roles/list": self._roles,
            "roles/permissions/list": self._rights,
            "roles/unassign": self._unassign,
            "roles/users/list": self._users_of,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        found = ROUTE.fullmatch(scope["path"])
        what = found[1] if found else ""
        try:
            if changes_from_page(scope) and not self.admin_host.is_own_page(scope):
                raise forbidden(self.admin_host.refusal)
            asked = await read(Request(scope, receive))
            if what in NOT_HERE:
                raise wrong(NOT_HERE[what])
            answer = JSONResponse(await self.routes[what](asked))
        except MlflowException as error:
            answer = answers.refusal(error)
        if scope["method"] not in READING:
            self.forget()
        await answer(scope, receive, send)

    # People -----------------------------------------------------------------------------------------------------------

    async def _me(self, _asked: Asked) -> Answer:
        # Not "is_basic_auth": the UI would change passwords here.
        return {"user": words.user(*asker()), "is_basic_auth": False}

    async def _my_permissions(self, _asked: Asked) -> Answer:
        name, role = asker()
        shown = [words.shown(role), *words.shown_grants(await self._granted(name))]
        return {"is_admin": role == Role.ADMIN, "permissions": [row for one in shown for row in words.rows(one)]}

    async def _user(self, asked: Asked) -> Answer:
        return {"user": words.user(*await self._person(asked))}

    async def _users(self, _asked: Asked) -> Answer:
        found = [(name, ROLES[role]) for name, role in await self.directory.find(USERS)]
        return {"users": [{**words.user(name, role), "roles": [words.shown(role)]} for name, role in found]}

    # Roles ------------------------------------------------------------------------------------------------------------

    async def _roles(self, asked: Asked) -> Answer:
        here = asked.get("workspace", words.WORKSPACE) == words.WORKSPACE
        return {"roles": [words.shown(role) for role in Role] if here else []}

    async def _role(self, asked: Asked) -> Answer:
        return {"role": words.shown(role_of(asked))}

    async def _rights(self, asked: Asked) -> Answer:
        return {"role_permissions": words.shown(role_of(asked))["permissions"]}

    async def _users_of(self, asked: Asked) -> Answer:
        role = role_of(asked)
        names = [name for name, word in await self.directory.find(USERS) if word == role.word]
        return {"assignments": [words.assignment(name, role) for name in names]}

    async def _roles_of(self, asked: Asked) -> Answer:
        name, role = asker()
        if asked.get("username") != name:
            name, role = await self._other(asked, role)
        return {"roles": [words.shown(role), *words.shown_grants(await self._granted(name))]}

    async def _other(self, asked: Asked, own: Role) -> tuple[str, Role]:
        if own < Role.ADMIN:
            raise forbidden(f"Another's roles are read by administrators: this takes the role {Role.ADMIN.word}")
        return await self._person(asked)

    async def _assign(self, asked: Asked) -> Answer:
        name, role = await self._change_role(asked, role_of(asked))
        return {"assignment": words.assignment(name, role)}

    async def _unassign(self, asked: Asked) -> Answer:
        role = role_of(asked)
        name, theirs = await self._person(asked)
        note(f"{name} not {role.word}")
        if role == theirs:
            raise wrong(
                f"{name} has one role, {role.word}: assign another, which takes its place, or end the account:"
                " docker compose exec proxy user remove"
            )
        # Another has taken its place before.
        return {}

    async def _make_admin(self, asked: Asked) -> Answer:
        if asked.get("is_admin") == "true":
            await self._change_role(asked, Role.ADMIN)
            return {}
        name, role = await self._person(asked)
        if role == Role.ADMIN:
            raise wrong(f"{name} has one role, {role.word}: assign the one that takes its place")
        return {}

    async def _change_role(self, asked: Asked, role: Role) -> tuple[str, Role]:
        name, _ = await self._person(asked)
        note(f"{name} {role.word}")
        if not await self.directory.find(SET_ROLE, role.word, name):
            raise missing(f"{name} has just been removed")
        return name, role

    # Grants -----------------------------------------------------------------------------------------------------------

    async def _grants(self, asked: Asked) -> Answer:
        name, role = await self._person(asked)
        shown = words.shown_grants(await self._granted(name))
        return {"is_admin": role == Role.ADMIN, "permissions": [row for one in shown for row in words.rows(one)]}

    async def _level(self, asked: Asked) -> Answer:
        name, role = await self._person(asked)
        kind, key = object_of(asked)
        found = [given for what, one, given in await self._granted(name) if (what, one) == (kind, key)]
        level = words.LEVELS[kind][max([role, *found])]
        return {"allowed": level != words.READ, "permission": level}

    async def _grant(self, asked: Asked) -> Answer:
        name, kind, key = await self._changed(asked)
        permission = asked.get("permission", "")
        if permission == words.READ:
            # Which everyone with a role has: what is more than that ends.
            await self.directory.find(REMOVE_GRANT.format(this=THIS[kind]), key, name, kind)
            return {}
        if key == "*":
            raise wrong(f"What holds for all is a role, and not a grant: assign one to {name}")
        role = words.GRANTS[kind].get(permission)
        if role is None:
            known = ", ".join([words.READ, *words.GRANTS[kind]])
            raise wrong(
                f"{printable(permission)} cannot be granted for one {kind}: {known} can; nothing is hidden here"
            )
        try:
            added = await self.directory.find(ADD_GRANT.format(this=THIS[kind]), name, kind, role.word, key)
        except psycopg2.errors.ForeignKeyViolation:
            raise missing(f"{name} has just been removed") from None
        if not added:
            raise missing(f"There is no {kind} {printable(key)}")
        return {}

    async def _revoke(self, asked: Asked) -> Answer:
        name, kind, key = await self._changed(asked)
        if not await self.directory.find(REMOVE_GRANT.format(this=THIS[kind]), key, name, kind):
            raise missing(f"{name} has no grant for the {kind} {printable(key)}")
        return {}

    async def _changed(self, asked: Asked) -> tuple[str, str, str]:
        """Returns the person, and the kind and key of the object that a change names, which the record gets."""
        name, _ = await self._person(asked)
        kind, key = object_of(asked)
        note(f"{name} {asked.get('permission', '')} {kind} {printable(key)}".replace("  ", " "))
        return name, kind, key

    async def _person(self, asked: Asked) -> tuple[str, Role]:
        name = asked.get("username", "")
        rows = await self.directory.find(USER, name)
        if not rows:
            raise missing(f"There is no user {printable(name)} with a role: docker compose exec proxy user add")
        return rows[0][0], ROLES[rows[0][1]]

    async def _granted(self, name: str) -> list[tuple[str, str, Role]]:
        return [(kind, key, ROLES[role]) for kind, key, role in await self.directory.find(OF_PERSON, name)]
