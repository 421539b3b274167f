"""Three servers with AUTH=on: what is changed about people holds in each of them, whichever was asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from .conftest import NewStack
from .people import AUTH_ON, PASSWORD, Persons, authority_of, user
from .stack import Stack, wait_until
from .test_several_servers import servers

SERVERS = 3
# In a server's own container, past the balancer: the statuses of who one is, and of a new run.
ASK = """
import http.client, json, sys
for method, path in (("GET", "/people/me"), ("POST", "/api/2.0/mlflow/runs/create")):
    connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=60)
    headers = {"Host": "mlflow", "Authorization": f"Bearer {sys.argv[1]}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps({"experiment_id": "0"}) if method == "POST" else None, headers)
    print(connection.getresponse().status)
"""
LISTENING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'people' AND query = 'LISTEN people'"


@pytest.fixture(scope="module")
def persons(new_stack: NewStack) -> Iterator[Persons]:
    """A stack of three servers with a login everywhere, and its people; each server listens for changes."""
    settings = {**AUTH_ON, "MLFLOW_SERVERS": str(SERVERS)}
    with new_stack(settings=settings, files=("compose.servers.yaml",)) as stack:
        stack.up()
        persons = Persons(stack)
        wait_listening(persons)
        yield persons


def answers(stack: Stack, token: str) -> list[tuple[int, ...]]:
    """Returns each server's statuses to a token's owner."""

    def ask(number: int) -> tuple[int, ...]:
        return tuple(map(int, stack.exec(servers(stack)[number], "python3", "-c", ASK, token).split()))

    with ThreadPoolExecutor(SERVERS) as pool:
        return list(pool.map(ask, range(SERVERS)))


def wait_listening(persons: Persons) -> None:
    """Asks until each server listens: it begins to with the first question that it cannot answer from memory."""

    def listen() -> bool:
        answers(persons.stack, persons.tokens["vera"])
        return len(persons.stack.sql(LISTENING)) == SERVERS

    wait_until(listen, "each server listens", 60)


def cut(persons: Persons) -> None:
    """Ends the connections by which the servers are told."""
    persons.stack.sql(LISTENING.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))


@pytest.mark.parametrize("before", [wait_listening, cut], ids=["told", "cut off"])
def test_change_holds_in_every_server(persons: Persons, before: Callable[[Persons], None]) -> None:
    """A role, a grant, a token and a person: each server has answered from memory, and is asked again after the change.

    A server that has lost the connection by which it is told is asked before it has another one.
    """
    stack = persons.stack
    user(stack, "add", "tom", "--role", "member", password=PASSWORD)
    first, second = (user(stack, "token", "add", "tom", "--name", name) for name in ("first", "second"))
    for args, token, expected in (
        ((), first, (200, 200)),
        (("role", "tom", "viewer"), first, (200, 403)),
        (("grant", "tom", "member", "--experiment", "Default"), first, (200, 200)),
        (("revoke", "tom", "--experiment", "Default"), first, (200, 403)),
        (("role", "tom", "member"), first, (200, 200)),
        (("token", "remove", "tom", "--name", "first"), first, (401, 401)),
        ((), second, (200, 200)),
        (("remove", "tom"), second, (401, 401)),
    ):
        before(persons)
        if args:
            user(stack, *args)
        wait_until(
            lambda token=token, expected=expected: answers(stack, token) == [expected] * SERVERS,  # type: ignore[misc]
            f"every server answers {expected} after {args}",
            10,
        )


def test_password_reaches_every_server(persons: Persons, tmp_path: Path) -> None:
    """The proxy passes a name on to whichever the balancer chooses, and nobody whom `user remove` has named."""
    stack = persons.stack
    url, authority = f"https://localhost:{stack.port('proxy', 443)}/people/me", authority_of(stack, tmp_path)

    def ask() -> set[tuple[int, str]]:
        found = [requests.get(url, auth=("uma", PASSWORD), verify=authority, timeout=60) for _ in range(3 * SERVERS)]
        return {(one.status_code, one.text if one.ok else "") for one in found}

    user(stack, "add", "uma", "--role", "viewer", password=PASSWORD)
    assert ask() == {(200, "uma viewer\n")}
    user(stack, "role", "uma", "release")
    wait_until(lambda: ask() == {(200, "uma release\n")}, "every server knows the role", 10)
    user(stack, "remove", "uma")
    assert ask() == {(401, "")}


def test_record_is_one_for_all(persons: Persons) -> None:
    """What each server has changed is in it, in the order of time."""
    stack = persons.stack
    ((before,),) = stack.sql("SELECT count(*) FROM people.record WHERE person = 'mia'")
    assert answers(stack, persons.tokens["mia"]) == [(200, 200)] * SERVERS
    rows = stack.sql("SELECT action, status FROM people.record WHERE person = 'mia' ORDER BY id")
    assert rows[before:] == [["create-run", 200]] * SERVERS
