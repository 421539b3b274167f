"""services/mlflow: the server's own routes for people; who may ask is decided before them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from replica_server.people import console
from replica_server.people.roles import Asking, Person, Role, asking


class Directory:
    """Stands in the database's place, and keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def find(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        self.asked.append((statement, *values))
        return []


def ask(method: str, path: str, query: str = "", *headers: tuple[bytes, bytes]) -> tuple[int, str, Directory]:
    """Returns the answer's status and text, and what the database was asked."""
    directory, sent = Directory(), []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
    asyncio.run(console.Console(directory, lambda: None)(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], sent[1]["body"].decode(), directory


@pytest.mark.parametrize("header", [(b"origin", b"https://example.org"), (b"sec-fetch-site", b"cross-site")])
def test_page_changes_nothing(header: tuple[bytes, bytes]) -> None:
    """A browser sends the login it knows with what any page asks for, and a POST without a body needs no leave."""
    for method, path in (("POST", "users/mallory"), ("PATCH", "users/mallory"), ("POST", "tokens/mallory/ci")):
        status, said, directory = ask(method, f"/people/{path}", "role=admin", header)
        assert (status, said) == (403, "a web page may not change users, roles and tokens\n")
        assert directory.asked == []
    assert ask("GET", "/people/users", "", header)[0] == 200
    status, _, directory = ask("POST", "/people/users/mallory", "role=admin")
    assert (status, directory.asked) == (200, [(console.ADD_USER, "mallory", "admin")])


def test_record_holds_no_secret() -> None:
    """Neither what somebody takes for the place of a password, nor a token that they take for its name."""
    token = f"mlr_{'a' * 43}"
    request = Asking(Person("ada", Role.ADMIN, "console"))
    before = asking.set(request)
    try:
        status, _, _ = ask("POST", "/people/users/bob", f"role=viewer&password=secret&token={token}")
        assert (status, request.objects) == (200, ["bob viewer"])
        status, said, directory = ask("DELETE", f"/people/tokens/bob/{token}")
    finally:
        asking.reset(before)
    assert (status, said) == (400, "this is a token itself: give the name that it has\n")
    assert (request.objects, directory.asked) == (["bob viewer"], [])


@pytest.mark.parametrize(
    ("method", "query", "said"),
    [
        ("POST", "role=member", "say what it is for: one experiment, or one registered model"),
        ("POST", "role=member&experiment=a&model=b", "say what it is for"),
        ("POST", "experiment=a", '"" is no role'),
        ("POST", "role=wizard&experiment=a", '"wizard" is no role'),
        ("POST", "role=release&experiment=a", "release cannot be granted for one experiment: member can"),
        ("POST", "role=admin&model=a", "admin cannot be granted for one model: member and release can"),
        ("POST", "role=viewer&model=a", "viewer cannot be granted"),
        ("POST", "role=member&experiment=a%00b", "a name holds no NUL character"),
        ("POST", "role=member&experiment=a%0Ab", 'there is no experiment "a b"'),
        ("DELETE", "model=a%1B%5B2J", 'alice has no grant for the model "a?[2J"'),
        ("DELETE", "", "say what it is for"),
    ],
)
def test_wrong_grant_is_one_line(method: str, query: str, said: str) -> None:
    status, text, directory = ask(method, "/people/grants/alice", query)
    assert status == 400
    assert said in text
    assert text.count("\n") == 1
    # The database alone knows which experiments and models there are.
    assert bool(directory.asked) == said.startswith(("there is no", "alice has no"))


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/people/tokens", "owner=%00"),
        ("POST", "/people/users/a\0b", "role=viewer"),
        ("DELETE", "/people/users/a\nb", ""),
        ("POST", "/people/tokens/alice/\udcff", ""),
    ],
)
def test_odd_name_is_refused_in_one_line(method: str, path: str, query: str) -> None:
    status, said, directory = ask(method, path, query)
    assert (status, said) == (400, "a name is made of letters, digits and . _ @ -, 64 at most\n")
    assert directory.asked == []
