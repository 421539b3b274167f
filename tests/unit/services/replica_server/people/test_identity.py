"""services/mlflow: who sends a request, by the proxy's proof, a token or the console's; others are refused."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from replica_server.people import cache, identity
from replica_server.people.roles import ROLES, Person, Role

TOKEN, EXPIRED, SERVICE = (f"mlr_{letter * 43}" for letter in "aes")
PROOFS = identity.Proofs(
    b"the proxy's", b"the console's", {identity.hashed(SERVICE): Person("serving", Role.VIEWER, "service")}
)


class Table:
    """Stands in the database's place: alice is a member, and has two tokens."""

    def __init__(self) -> None:
        self.marked = 0
        self.noted: list[tuple[object, ...]] = []
        self.asked: list[tuple[object, ...]] = []

    async def find(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        self.asked.append((statement, *values))
        if statement in (cache.ROLE_OF, cache.SSO_ROLE_OF):
            return [("member",)] if values == ("alice",) else []
        if statement == cache.WHOSE:
            tokens = {identity.hashed(TOKEN): 3600.0, identity.hashed(EXPIRED): 0.0}
            _, asked = values
            return [("alice", "member", "ci", left, True) for token, left in tokens.items() if token == asked]
        if statement == cache.NOTE:
            self.noted.append(values[1:])
            # One whom the command `user` has made.
            return [] if values[0] == "local" else [values[:1]]
        assert statement == cache.USED
        self.marked += 1
        return []

    async def listen(self) -> None:
        """Tells nothing."""


def ask(*headers: tuple[str, str], table: Table | None = None) -> Person:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return asyncio.run(identity.identify(encoded, PROOFS, cache.PeopleCache(table or Table())))


def basic(name: str, secret: str) -> tuple[str, str]:
    return "authorization", f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


PROVEN = ("x-replica-proof", "the proxy's")


def test_name_with_the_proxys_proof() -> None:
    assert ask(("x-replica-user", "alice"), PROVEN) == Person("alice", Role.MEMBER, "password")


def test_single_sign_on_says_the_role() -> None:
    """It is noted where it is another one than before: tokens follow it."""
    table = Table()
    for role in ("release", "member"):
        who = ask(("x-replica-user", "alice"), ("x-replica-role", role), PROVEN, table=table)
        assert who == Person("alice", ROLES[role], "sso")
    assert table.noted == [("alice", "release")]


@pytest.mark.parametrize(
    "authorization", [("authorization", f"Bearer {TOKEN}"), basic("alice", TOKEN), basic("", TOKEN)]
)
def test_token_as_bearer_and_as_password(authorization: tuple[str, str]) -> None:
    table = Table()
    assert ask(authorization, table=table) == Person("alice", Role.MEMBER, "token ci")
    assert table.marked == 1


def test_token_may_come_by_the_proxy() -> None:
    assert ask(PROVEN, ("authorization", f"Bearer {TOKEN}")) == Person("alice", Role.MEMBER, "token ci")


def test_token_is_looked_up_by_its_hash() -> None:
    """No secret is compared with another: one that is nearly right costs the same one statement, by its hash alone."""
    said = set()
    for wrong in (f"{TOKEN[:-1]}b", f"mlr_{'z' * 43}"):
        table = Table()
        with pytest.raises(MlflowException) as refused:
            ask(("authorization", f"Bearer {wrong}"), table=table)
        said.add(refused.value.message)
        assert table.asked == [(cache.WHOSE, 3650, identity.hashed(wrong))]
    assert said == {"This token is not known, or has been withdrawn"}


def test_services_and_console_need_no_database() -> None:
    assert ask(("authorization", f"Bearer {SERVICE}")) == Person("serving", Role.VIEWER, "service")
    assert ask(("x-replica-console", "the console's")) == Person("console", Role.ADMIN, "console")


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ([], 401, "A login is needed"),
        ([("authorization", "Negotiate x")], 401, "A login is needed"),
        ([("authorization", "Basic ***")], 401, "cannot be read"),
        ([basic("alice", "a password")], 401, "checked by the proxy only"),
        ([("authorization", f"Bearer {TOKEN}b")], 401, "no token"),
        ([("authorization", f"Bearer mlr_{'x' * 43}")], 401, "not known, or has been withdrawn"),
        ([("authorization", f"Bearer {EXPIRED}")], 401, "The token ci of alice has expired"),
        ([basic("bob", TOKEN)], 401, "is alice's"),
        ([("authorization", f"Bearer {TOKEN}"), basic("alice", TOKEN)], 403, "more than once"),
        ([("x-replica-user", "alice")], 403, "needs the proxy's proof"),
        ([("x-replica-user", "alice"), ("x-replica-proof", "a guess")], 403, "needs the proxy's proof"),
        ([("x-replica-user", "alice"), ("x-replica-user", "root"), PROVEN], 403, "more than once"),
        # From the proxy, with no name and no token.
        ([PROVEN], 401, "A login is needed"),
        ([PROVEN, ("authorization", f"Bearer mlr_{'x' * 43}")], 401, "not known, or has been withdrawn"),
        ([PROVEN, PROVEN, ("authorization", f"Bearer {TOKEN}")], 403, "more than once"),
        ([PROVEN, ("x-replica-role", "admin"), ("authorization", f"Bearer {TOKEN}")], 403, "needs the proxy's proof"),
        ([("x-replica-proof", "a guess"), ("authorization", f"Bearer {TOKEN}")], 403, "needs the proxy's proof"),
        ([("x-replica-role", "admin")], 403, "needs the proxy's proof"),
        ([("x-replica-user", "alice"), ("x-replica-role", "admin")], 403, "needs the proxy's proof"),
        ([("x-replica-user", "alice"), ("x-replica-role", "root"), PROVEN], 403, "root is no role"),
        ([("x-replica-user", "alice"), *[("x-replica-role", "admin")] * 2, PROVEN], 403, "more than once"),
        ([("x-replica-user", "serving"), ("x-replica-role", "admin"), PROVEN], 403, "serving cannot be a name"),
        ([("x-replica-user", "a b"), ("x-replica-role", "admin"), PROVEN], 403, "a b cannot be a name"),
        (
            [("x-replica-user", "local"), ("x-replica-role", "admin"), PROVEN],
            403,
            "local is a user that this stack has made",
        ),
        ([("x-replica-user", "mallory"), PROVEN], 403, "mallory has no role here"),
        ([("x-replica-user", "\xe4"), PROVEN], 403, "has no role here"),
        ([("x-replica-console", "the proxy's")], 403, "the console's proof"),
        # A wrong header is no matter for a token that is right.
        ([("x-replica-user", "root"), ("authorization", f"Bearer {TOKEN}")], 403, "needs the proxy's proof"),
    ],
)
def test_others_are_refused_in_one_line(headers: list[tuple[str, str]], status: int, said: str) -> None:
    with pytest.raises(MlflowException, match=said) as refused:
        ask(*headers)
    assert refused.value.get_http_status_code() == status  # type: ignore[no-untyped-call]
    assert "\n" not in refused.value.message


def test_missing_proof_ends_the_start(tmp_path: Path) -> None:
    for name, text in (("serving/token", SERVICE), ("housekeeping/token", TOKEN), ("people/proof", "a")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"{text}\n")
    with pytest.raises(SystemExit, match=r"^error: the proof .*console cannot be read"):
        identity.Proofs.from_files(tmp_path)
    (tmp_path / "people/console").write_text("b\n")
    proofs = identity.Proofs.from_files(tmp_path)
    assert (proofs.proxy, proofs.console) == (b"a", b"b")
    assert proofs.services == {
        identity.hashed(SERVICE): Person("serving", Role.VIEWER, "service"),
        identity.hashed(TOKEN): Person("housekeeping", Role.MEMBER, "service"),
    }
