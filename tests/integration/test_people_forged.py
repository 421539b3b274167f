"""A stack with AUTH=on: nobody forges a name from inside of any container, and who guesses learns nothing."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import forged_headers
from .conftest import NewStack
from .people import AUTH_ON, PASSWORD, Persons, authority_of, basic
from .stack import Stack

if TYPE_CHECKING:
    from docker.models.containers import Container

# On one connection, by its certificate's name: each login's status, headers and body, without what tells the time.
GUESS = """
import http.client, json, socket, ssl, sys
plain = socket.create_connection(("proxy", 443), timeout=60)
context = ssl.create_default_context(cadata=sys.argv[1])
connection = http.client.HTTPConnection("localhost", 443)
connection.sock, connection.auto_open = context.wrap_socket(plain, server_hostname="localhost"), 0
for login in json.loads(sys.argv[2]):
    connection.request("GET", "/people/me", headers={"Authorization": login})
    answer = connection.getresponse()
    headers = {name: "" if name in ("Date", "Retry-After") else value for name, value in answer.getheaders()}
    print(json.dumps([answer.status, headers, answer.read().decode()]), flush=True)
"""
GUESSES, ANSWERED = 30, 10
ME, REMOVE = "GET /people/me", "DELETE /people/users/mia"


@pytest.fixture(scope="module")
def persons(new_stack: NewStack) -> Iterator[Persons]:
    """A stack with a login everywhere, and its people."""
    with new_stack(settings=AUTH_ON) as stack:
        stack.up()
        yield Persons(stack)


@pytest.fixture(scope="module")
def near(persons: Persons) -> str:
    """What is nearly the proxy's proof."""
    proof = persons.stack.read_secret("mlflow", "/run/secrets/people/proof")
    return proof[:-1] + ("a" if proof[-1] != "a" else "b")


@pytest.fixture(scope="module")
def authority(persons: Persons, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of the certificate of the proxy's authority."""
    return authority_of(persons.stack, tmp_path_factory.mktemp("authority"))


def neighbours(stack: Stack) -> list[str]:
    """Returns the services that share a network with the server, the proxy left out, which may say names."""
    services = json.loads(stack.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    reached = set(services["mlflow"]["networks"])
    others = sorted(set(services) - {"mlflow", "proxy"})
    return [name for name in others if reached & set(services[name].get("networks") or {})]


def inside(stack: Stack, service: str, cases: list[tuple[str, int, str, str]]) -> list[tuple[int, str]]:
    """Returns the answers to requests that are sent where a container of this service is."""
    place = stack.start(service, "infinity", options=["--entrypoint", "sleep"])
    said = stack.docker.containers.run(
        stack.image("trainer"),
        entrypoint=["python3", "-c", Path(forged_headers.__file__).read_text(), json.dumps(cases)],
        network_mode=f"container:{place.id}",
        remove=True,
    )
    place.remove(force=True)
    return [(status, body) for status, body in json.loads(said)]


def wrong(name: str, request: str, headers: str, status: int, body: str) -> str:
    """Returns what is wrong about an answer to somebody who claims to be another one; empty: nothing."""
    # Also a login that a folded header has spoiled.
    if status in (400, 401, 403):
        return ""
    if status == 200 and name and request == ME and "vera viewer\n" in body:
        return ""
    return f"{name or 'nobody'}, {request}, {headers!r}: {status} {body[:100]!r}"


def test_no_container_forges_a_name(persons: Persons, near: str) -> None:
    """From where each container is: who has no proof is nobody, and who has a token is its owner, or refused."""
    stack = persons.stack
    login = {"": "", "vera": f"Authorization: Bearer {persons.tokens['vera']}\n"}
    asked = [
        (name, request, block) for name in login for request in (ME, REMOVE) for block in forged_headers.blocks(near)
    ]
    cases = [("mlflow", 5000, request, login[name] + block) for name, request, block in asked]
    services = neighbours(stack)
    expected = {"edge", "trainer", "serving", "serving-edge", "housekeeping", "scheduler", "worker", "prometheus"}
    assert expected | {"postgres", "gc", "backup", "blackbox", "postgres-exporter"} <= set(services)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda service: inside(stack, service, cases), services))
    said = [
        f"{service}: {problem}"
        for service, answers in zip(services, found, strict=True)
        for case, answer in zip(asked, answers, strict=True)
        if (problem := wrong(*case, *answer))
    ]
    assert said == []
    # Where the claim is no header of the proxy's, as with an underscore, the token counts.
    assert [sum(status == 200 for status, _ in answers) > 10 for answers in found] == [True] * len(services)
    assert persons.ask("mia", "GET", "/people/me").text == "mia member\n"
    assert near not in stack.logs("mlflow")


def test_proxy_passes_no_claim_on(persons: Persons, near: str, authority: str) -> None:
    """The same headers at the proxy: the login counts, and without one nobody gets in."""
    port = persons.stack.port("proxy", 443)
    login = {"": "", "vera": f"Authorization: {basic('vera', PASSWORD)}\n"}
    asked = [
        (name, request, block) for name in login for request in (ME, REMOVE) for block in forged_headers.blocks(near)
    ]
    answers = [
        forged_headers.ask("localhost", port, request, login[name] + block, authority) for name, request, block in asked
    ]
    assert [said for case, answer in zip(asked, answers, strict=True) if (said := wrong(*case, *answer))] == []
    assert sum(status == 200 for status, _ in answers) > 30
    assert persons.ask("mia", "GET", "/people/me").text == "mia member\n"


# Guessing -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def addresses(persons: Persons) -> list[Container]:
    """Machines at addresses of their own."""
    return [persons.stack.start_trainer("infinity", entrypoint="sleep") for _ in range(8)]


def guess(persons: Persons, place: Container, authority: str, logins: list[str]) -> list[tuple[int, Any, str]]:
    """Returns the proxy's answers to these logins, from this address."""
    said = persons.stack.exec(place, "python3", "-c", GUESS, Path(authority).read_text(), json.dumps(logins))
    return [(status, headers, body) for status, headers, body in map(json.loads, said.splitlines())]


def statuses(answers: list[tuple[int, Any, str]]) -> list[int]:
    return [status for status, _, _ in answers]


def test_guessed_passwords_tell_nothing(persons: Persons, authority: str, addresses: list[Container]) -> None:
    """Ten are answered, for a name whether there is one or not, from however many addresses; who knows it gets in."""

    def answers(numbers: tuple[int, int]) -> list[list[tuple[int, Any, str]]]:
        logins = [[basic(name, f"guess {n} at {numbers}") for n in range(GUESSES)] for name in ("mia", "no-such")]
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda number, of: guess(persons, addresses[number], authority, of), numbers, logins))

    known, unknown = answers((0, 1))
    assert known == unknown
    assert statuses(known) == [401] * ANSWERED + [429] * (GUESSES - ANSWERED)
    # Of further addresses none is answered.
    known, unknown = answers((2, 3))
    assert known == unknown
    assert statuses(known) == [429] * GUESSES
    (right,) = guess(persons, addresses[4], authority, [basic("mia", PASSWORD)])
    assert (right[0], right[2]) == (200, "mia member\n")


def test_guessed_tokens_tell_nothing(persons: Persons, authority: str, addresses: list[Container]) -> None:
    """Ten are answered of each address, and those that are nearly right as those that are not."""
    token, letters = persons.tokens["mia"], string.ascii_letters
    near = [one for n in range(GUESSES + 1) if (one := f"{token[:-2]}{letters[n]}{letters[-n]}") != token][:GUESSES]
    far = [f"mlr_{n:_>43}" for n in range(GUESSES)]
    with ThreadPoolExecutor(2) as pool:
        as_near, as_far = pool.map(
            lambda place, tokens: guess(persons, place, authority, [f"Bearer {one}" for one in tokens]),
            addresses[5:7],
            (near, far),
        )
    assert as_near == as_far
    assert statuses(as_near) == [401] * ANSWERED + [429] * (GUESSES - ANSWERED)
    (right,) = guess(persons, addresses[7], authority, [f"Bearer {token}"])
    assert (right[0], right[2]) == (200, "mia member\n")
