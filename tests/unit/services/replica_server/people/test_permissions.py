"""services/mlflow: MLflow's API for permissions, out of roles and grants; what these cannot express is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from replica_server.people import permissions
from replica_server.people.console import USERS
from replica_server.people.roles import Asking, Person, Role, asking

ROLES = {"vera": "viewer", "mia": "member", "ron": "release", "ada": "admin"}
EXPERIMENT = {"resource_type": "experiment", "resource_id": "7"}
MODEL = {"resource_type": "registered_model", "resource_id": "shop"}


class Directory:
    """People of each role, an experiment 7 and a model shop; it keeps the changes."""

    def __init__(self) -> None:
        self.grants: dict[tuple[str, str], tuple[str, str]] = {}

    async def find(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        if statement.startswith("\nINSERT"):
            name, kind, role, key = values
            if (kind, key) not in {("experiment", "7"), ("model", "shop")}:
                return []
            self.grants[name, kind] = (key, role)
            return [(key,)]
        if statement.startswith("\nDELETE"):
            key, name, kind = values
            return [(key,)] if self.grants.get((name, kind), ("",))[0] == key and self.grants.pop((name, kind)) else []
        if statement == permissions.OF_PERSON:
            return [(kind, key, role) for (name, kind), (key, role) in self.grants.items() if name == values[0]]
        if statement == permissions.USER:
            return [(name, role) for name, role in ROLES.items() if name == values[0]]
        assert statement == USERS
        return list(ROLES.items())


class Api:
    """Asks the routes."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.forgotten = 0

    def _forget(self) -> None:
        self.forgotten += 1

    def ask(
        self, method: str, what: str, body: bytes = b"", query: str = "", headers: tuple[Any, ...] = ()
    ) -> tuple[int, Any]:
        """Returns the answer's status and content."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        path = f"/api/3.0/mlflow/users/{what}"
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
        answers = permissions.Permissions(cast("Any", self.directory), self._forget)
        asyncio.run(answers(scope, receive, send))
        return sent[0]["status"], json.loads(sent[1]["body"])

    def post(self, what: str, name: str, *parts: dict[str, str]) -> tuple[int, Any]:
        """Sends a change, as MLflow's client does."""
        body = {"username": name, **{key: value for part in parts for key, value in part.items()}}
        return self.ask("POST", f"permissions/{what}", json.dumps(body).encode())

    def level(self, name: str, what: dict[str, str]) -> str:
        """Returns what a person may do."""
        query = "&".join(f"{key}={value}" for key, value in {"username": name, **what}.items())
        return str(self.ask("GET", "permissions/get", query=query)[1]["permission"])


@pytest.fixture
def api() -> Api:
    return Api()


def test_roles_have_mlflows_levels(api: Api) -> None:
    """A release person may delete any model, so it is theirs to manage; an experiment is not."""
    assert [api.level(name, EXPERIMENT) for name in ROLES] == ["READ", "EDIT", "EDIT", "MANAGE"]
    assert [api.level(name, MODEL) for name in ROLES] == ["READ", "EDIT", "MANAGE", "MANAGE"]


@pytest.mark.parametrize(
    ("what", "permission", "role"),
    [(EXPERIMENT, "EDIT", "member"), (MODEL, "EDIT", "member"), (MODEL, "MANAGE", "release")],
)
def test_grant_comes_and_goes(api: Api, what: dict[str, str], permission: str, role: str) -> None:
    assert api.post("grant", "vera", what, {"permission": permission}) == (200, {})
    assert [granted[1] for granted in api.directory.grants.values()] == [role]
    assert api.level("vera", what) == permission
    (listed,) = api.ask("GET", "permissions/list", query="username=vera")[1]["permissions"]
    assert (listed["resource_type"], listed["resource_pattern"], listed["permission"]) == (
        *what.values(),
        permission,
    )
    assert api.post("revoke", "vera", what) == (200, {})
    assert api.level("vera", what) == "READ"
    assert api.post("revoke", "vera", what)[0] == 404
    assert api.forgotten == 3


def test_reading_is_the_least(api: Api) -> None:
    """As with MLflow, another permission takes the place of the former one; READ is what everyone has."""
    api.post("grant", "vera", MODEL, {"permission": "MANAGE"})
    assert api.post("grant", "vera", MODEL, {"permission": "READ"}) == (200, {})
    assert api.level("vera", MODEL) == "READ"
    assert api.post("grant", "vera", MODEL, {"permission": "READ"}) == (200, {})


@pytest.mark.parametrize(
    ("what", "permission", "said"),
    [
        (EXPERIMENT, "MANAGE", "MANAGE cannot be granted for one experiment: READ, EDIT can; nothing is hidden here"),
        (MODEL, "NO_PERMISSIONS", "NO_PERMISSIONS cannot be granted for one model: READ, EDIT, MANAGE can; nothing is"),
        (MODEL, "DENY", "DENY cannot be granted for one model"),
        (MODEL, "USE", "USE cannot be granted for one model"),
        (MODEL, "", " cannot be granted for one model"),
        (
            {"resource_type": "prompt", "resource_id": "p"},
            "EDIT",
            "grants for experiment and registered_model, not for pr",
        ),
        ({"resource_id": "p"}, "EDIT", "There are grants for experiment and registered_model, not for nothing"),
        ({"resource_type": "experiment"}, "EDIT", "resource_id is missing"),
        ({**EXPERIMENT, "resource_id": "8"}, "EDIT", "There is no experiment 8"),
        ({**MODEL, "resource_id": "a\0b"}, "EDIT", "A name holds no NUL character"),
    ],
)
def test_what_cannot_be_expressed_is_refused(api: Api, what: dict[str, str], permission: str, said: str) -> None:
    status, answer = api.post("grant", "vera", what, {"permission": permission})
    assert status in (400, 404)
    assert said in answer["message"]
    assert "\n" not in answer["message"]
    assert api.directory.grants == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "The body is no JSON"),
        (b"[]", "The body is no JSON object"),
        (b" " * (2**16 + 1), "The body is larger than 65,536 bytes"),
        (b'{"username": 7}', "There is no user"),
        (b'{"username": "nobody"}', "There is no user nobody with a role: docker compose exec proxy user add"),
    ],
)
def test_odd_body_is_one_line(api: Api, body: bytes, said: str) -> None:
    status, answer = api.ask("POST", "permissions/grant", body)
    assert status in (400, 404)
    assert said in answer["message"]


def test_people_are_listed(api: Api) -> None:
    """Their names are their ids; nobody has a role of MLflow's own kind."""
    users = api.ask("GET", "list")[1]["users"]
    assert [(user["username"], user["is_admin"], user["roles"]) for user in users] == [
        (name, name == "ada", []) for name in ROLES
    ]
    assert api.ask("GET", "get", query="username=ada") == (
        200,
        {"user": {"id": "ada", "username": "ada", "is_admin": True}},
    )
    assert api.ask("GET", "get", query="username=nobody")[0] == 404


@pytest.mark.parametrize("header", [(b"origin", b"https://example.org"), (b"sec-fetch-site", b"same-origin")])
def test_page_grants_nothing(api: Api, header: tuple[bytes, bytes]) -> None:
    """A browser sends the login that it knows with what any page asks for."""
    body = json.dumps({"username": "vera", **MODEL, "permission": "EDIT"}).encode()
    assert api.ask("POST", "permissions/grant", body, headers=(header,))[0] == 403
    assert api.directory.grants == {}


def test_change_is_recorded_by_its_object(api: Api) -> None:
    request = Asking(Person("ada", Role.ADMIN, "token ci"))
    before = asking.set(request)
    try:
        api.post("grant", "vera", MODEL, {"permission": "EDIT"})
        api.post("revoke", "vera", MODEL)
    finally:
        asking.reset(before)
    assert request.objects == ["vera EDIT model shop", "vera model shop"]
