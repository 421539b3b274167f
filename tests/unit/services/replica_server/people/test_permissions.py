"""services/mlflow: MLflow's API for permissions, out of roles and grants; what these cannot express is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from replica_server.people import permissions
from replica_server.people.admin_host import AdminHost
from replica_server.people.console import USERS
from replica_server.people.permission_request import NOT_HERE
from replica_server.people.roles import Asking, Person, Role, asking

ROLES = {"vera": "viewer", "mia": "member", "ron": "release", "ada": "admin"}
ADMIN_HOST = "people.example.org"
EXPERIMENT = {"resource_type": "experiment", "resource_id": "7"}
MODEL = {"resource_type": "registered_model", "resource_id": "shop"}


class Directory:
    """People of each role, an experiment 7 and a model shop; it keeps the changes."""

    def __init__(self) -> None:
        self.grants: dict[tuple[str, str], tuple[str, str]] = {}
        self.roles = dict(ROLES)

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
            return [(name, role) for name, role in self.roles.items() if name == values[0]]
        if statement == permissions.SET_ROLE:
            role, name = values
            self.roles[name] = role
            return [(name,)]
        assert statement == USERS
        return list(self.roles.items())


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

        path = f"/api/3.0/mlflow/{what if what.startswith(('roles/', 'users/')) else f'users/{what}'}"
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
        answers = permissions.Permissions(cast("Any", self.directory), self._forget, AdminHost(ADMIN_HOST))
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
        (
            {**EXPERIMENT, "resource_id": "*"},
            "EDIT",
            "What holds for all is a role, and not a grant: assign one to vera",
        ),
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
    """Their names are their ids, and each has one role."""
    users = api.ask("GET", "list")[1]["users"]
    assert [(user["username"], user["is_admin"], [role["name"] for role in user["roles"]]) for user in users] == [
        (name, name == "ada", [role]) for name, role in ROLES.items()
    ]
    assert api.ask("GET", "get", query="username=ada") == (
        200,
        {"user": {"id": "ada", "username": "ada", "is_admin": True}},
    )
    assert api.ask("GET", "get", query="username=nobody")[0] == 404


def send_as(api: Api, name: str, method: str, what: str, **body: Any) -> tuple[int, Any]:
    """Sends a request as a person."""
    before = asking.set(Asking(Person(name, Role[ROLES[name].upper()], "password")))
    try:
        query = "&".join(f"{key}={value}" for key, value in body.items())
        sent = json.dumps(body).encode() if method != "GET" else b""
        return api.ask(method, what, sent, query if method == "GET" else "")
    finally:
        asking.reset(before)


def test_each_person_sees_who_they_are(api: Api) -> None:
    """What the UI asks first; it offers no change of a password, which is the proxy's."""
    for name in ROLES:
        status, answer = send_as(api, name, "GET", "current")
        user = {"id": name, "username": name, "is_admin": name == "ada"}
        assert (status, answer) == (200, {"user": user, "is_basic_auth": False})
    api.post("grant", "vera", MODEL, {"permission": "MANAGE"})
    answer = send_as(api, "vera", "GET", "current/permissions")[1]
    assert answer["is_admin"] is False
    assert [(row["role_name"], row["resource_pattern"], row["permission"]) for row in answer["permissions"]] == [
        ("viewer", "*", "READ"),
        ("viewer", "*", "READ"),
        ("__user_0__", "shop", "MANAGE"),
    ]


def test_roles_are_shown(api: Api) -> None:
    """The four, with what they may do."""
    roles = api.ask("GET", "roles/list")[1]["roles"]
    assert [(role["id"], role["name"]) for role in roles] == [
        (1, "viewer"),
        (2, "member"),
        (3, "release"),
        (4, "admin"),
    ]
    levels = [[right["permission"] for right in role["permissions"]] for role in roles]
    assert levels == [["READ", "READ"], ["EDIT", "EDIT"], ["EDIT", "MANAGE"], ["MANAGE", "MANAGE"]]
    assert len({right["id"] for role in roles for right in role["permissions"]}) == 8
    one = api.ask("GET", "roles/get", query="role_id=3")[1]["role"]
    assert one["name"] == "release"
    assert api.ask("GET", "roles/permissions/list", query="role_id=3")[1]["role_permissions"] == one["permissions"]
    assert api.ask("GET", "roles/users/list", query="role_id=2")[1]["assignments"] == [
        {"id": "mia", "user_id": "mia", "role_id": 2}
    ]
    assert api.ask("GET", "roles/list", query="workspace=default")[1]["roles"] != []
    assert api.ask("GET", "roles/list", query="workspace=other")[1]["roles"] == []


@pytest.mark.parametrize("number", ["0", "5", "-1", "x", ""])
def test_role_that_is_not_there(api: Api, number: str) -> None:
    status, answer = api.ask("GET", "roles/get", query=f"role_id={number}")
    assert status == 404
    assert "there are 1 viewer, 2 member, 3 release, 4 admin" in answer["message"]


def test_ones_own_roles_are_read(api: Api) -> None:
    """A grant is shown as a role that nobody else has; another's are an administrator's to read."""
    api.post("grant", "vera", EXPERIMENT, {"permission": "EDIT"})
    for name in ("vera", "ada"):
        roles = send_as(api, name, "GET", "users/roles/list", username="vera")[1]["roles"]
        assert [role["name"] for role in roles] == ["viewer", "__user_0__"]
        (right,) = roles[1]["permissions"]
        assert (right["resource_type"], right["resource_pattern"], right["permission"]) == ("experiment", "7", "EDIT")
    assert send_as(api, "vera", "GET", "users/roles/list", username="ada")[0] == 403
    assert send_as(api, "vera", "GET", "users/roles/list")[0] == 403
    assert send_as(api, "ada", "GET", "users/roles/list", username="nobody")[0] == 404


def test_role_takes_the_place_of_another(api: Api) -> None:
    """The page assigns the new one, and then takes the former one away."""
    assert send_as(api, "ada", "POST", "roles/assign", username="mia", role_id=3) == (
        200,
        {"assignment": {"id": "mia", "user_id": "mia", "role_id": 3}},
    )
    assert api.directory.roles["mia"] == "release"
    assert send_as(api, "ada", "DELETE", "roles/unassign", username="mia", role_id=2) == (200, {})
    assert api.directory.roles["mia"] == "release"
    status, answer = send_as(api, "ada", "DELETE", "roles/unassign", username="mia", role_id=3)
    assert (status, api.directory.roles["mia"]) == (400, "release")
    assert "mia has one role, release: assign another" in answer["message"]
    assert send_as(api, "ada", "POST", "roles/assign", username="nobody", role_id=3)[0] == 404
    assert "nobody" not in api.directory.roles


def test_administrators_are_made_and_replaced(api: Api) -> None:
    assert send_as(api, "ada", "PATCH", "update-admin", username="mia", is_admin=False) == (200, {})
    assert api.directory.roles["mia"] == "member"
    assert send_as(api, "ada", "PATCH", "update-admin", username="mia", is_admin=True) == (200, {})
    assert api.directory.roles["mia"] == "admin"
    assert send_as(api, "ada", "PATCH", "update-admin", username="mia", is_admin=False)[0] == 400
    assert api.directory.roles["mia"] == "admin"


@pytest.mark.parametrize("what", sorted(NOT_HERE))
def test_what_is_not_here_says_so(api: Api, what: str) -> None:
    status, answer = send_as(api, "ada", "POST", what.removeprefix("users/"), username="mia", password="a" * 12)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "proxy user" in answer["message"] or "a grant opens more" in answer["message"]
    assert api.directory.roles == ROLES


def test_half_a_character_is_refused(api: Api) -> None:
    status, answer = api.ask("POST", "permissions/grant", b'{"username": "\\ud800"}')
    assert (status, answer["message"]) == (400, "A name holds no half of a character")


@pytest.mark.parametrize("header", [(b"origin", b"https://example.org"), (b"sec-fetch-site", b"same-origin")])
def test_page_grants_nothing(api: Api, header: tuple[bytes, bytes]) -> None:
    """A browser sends the login that it knows with what any page asks for."""
    body = json.dumps({"username": "vera", **MODEL, "permission": "EDIT"}).encode()
    assert api.ask("POST", "permissions/grant", body, headers=(header,))[0] == 403
    assert api.directory.grants == {}


def test_page_of_its_own_host_grants(api: Api) -> None:
    """As a browser says it of the page itself; one word of that otherwise, and nothing is changed."""
    body = json.dumps({"username": "vera", **MODEL, "permission": "EDIT"}).encode()
    own = {"host": ADMIN_HOST, "origin": f"https://{ADMIN_HOST}", "sec-fetch-site": "same-origin"}
    own["sec-fetch-dest"] = "empty"
    for name, value in {"origin": "null", "sec-fetch-site": "same-site", "host": "mlflow.example.org"}.items():
        headers = tuple((key.encode(), text.encode()) for key, text in {**own, name: value}.items())
        status, answer = api.ask("POST", "permissions/grant", body, headers=headers)
        assert (status, api.directory.grants) == (403, {})
        assert f"the one at {ADMIN_HOST} may" in answer["message"]
    headers = tuple((key.encode(), text.encode()) for key, text in own.items())
    assert api.ask("POST", "permissions/grant", body, headers=headers) == (200, {})
    assert [role for _, role in api.directory.grants.values()] == ["member"]


def test_change_is_recorded_by_its_object(api: Api) -> None:
    request = Asking(Person("ada", Role.ADMIN, "token ci"))
    before = asking.set(request)
    try:
        api.post("grant", "vera", MODEL, {"permission": "EDIT"})
        api.post("revoke", "vera", MODEL)
    finally:
        asking.reset(before)
    assert request.objects == ["vera EDIT model shop", "vera model shop"]
