"""Strangers who guess passwords, or hold connections open, do not get at the proxy's users."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from .stack import Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container
    from mlflow import MlflowClient

PASSWORD = "correct-horse-battery"
# Runs where its address is another than the host's: logs in with each name, one after the other on one connection, with
# another wrong password each time unless one is given (NAME:PASSWORD), and prints status, Retry-After and body.
GUESS = """
import base64, http.client, json, os, socket, ssl, sys
asked = http.client.HTTPConnection("localhost")
context = ssl._create_unverified_context()
asked.sock = context.wrap_socket(socket.create_connection(("proxy", 443), timeout=60), server_hostname="localhost")
for name in json.loads(sys.argv[1]):
    login = base64.b64encode((name if ":" in name else f"{name}:{os.urandom(8).hex()}").encode()).decode()
    asked.request("GET", "/version", headers={"Host": "localhost", "Authorization": f"Basic {login}"})
    answer = asked.getresponse()
    print(json.dumps([answer.status, int(answer.headers.get("Retry-After", 0)), answer.read().decode()]))
"""
# Hundredths of a second.
TICK_MS = 10
# Of each of the four kinds.
CROWD = 250


def guess(stack: Stack, attacker: Container, *names: str) -> list[tuple[int, int, str]]:
    """Logs in, wrongly unless a password is given; returns status, Retry-After in seconds and body of each answer."""
    lines = stack.exec(attacker, "python3", "-c", GUESS, json.dumps(names)).splitlines()
    return [cast("tuple[int, int, str]", tuple(json.loads(line))) for line in lines]


def processor_ms(stack: Stack) -> int:
    """Returns the processor time that Caddy, which is a child of the container's init, has taken since it started."""
    processes = stack.exec("proxy", "bash", "-c", "cat /proc/[0-9]*/stat").splitlines()
    (caddy,) = [process for process in processes if "(caddy)" in process]
    fields = caddy.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def authorization(name: str) -> str:
    """Returns a user's header."""
    return "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()


class Door(NamedTuple):
    """The port at which the proxy is published, and how its certificate is checked."""

    port: int
    context: ssl.SSLContext


class Visitor:
    """A client on the host with one connection to the proxy.

    Args:
        door: Where the proxy is.
        name: The user.
    """

    def __init__(self, door: Door, name: str) -> None:
        self.connection = http.client.HTTPSConnection("localhost", door.port, timeout=30, context=door.context)
        self.headers = {"Authorization": authorization(name)}

    def ask(self, method: str = "GET", path: str = "/version", body: Any = None) -> int:
        """Sends a request and returns the status."""
        self.connection.request(method, path, body, self.headers, encode_chunked=body is not None)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


@pytest.fixture(scope="module")
def door(stack: Stack, proxy: Container) -> Iterator[Door]:
    """Where the proxy is, which knows alice, bob, carol and dave."""
    users = ("alice", "bob", "carol", "dave")
    for name in users:
        stack.exec("proxy", "bash", "-c", 'user add "$1" <<<"$0"', PASSWORD, name)
    root = stack.exec("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
    yield Door(stack.port("proxy", 443), ssl.create_default_context(cadata=root))
    for name in users:
        stack.exec("proxy", "user", "remove", name)


@pytest.fixture(scope="module")
def attackers(stack: Stack) -> Iterator[list[Container]]:
    """Two containers, each with an address of its own."""
    containers = [stack.start_trainer("infinity", entrypoint="sleep") for _ in range(2)]
    yield containers
    for container in containers:
        container.remove(force=True)


def test_unknown_name_costs_what_a_known_does(stack: Stack, door: Door, attackers: list[Container]) -> None:
    times = [processor_ms(stack)]
    for name in ("alice", "nobody"):
        assert [status for status, *_ in guess(stack, attackers[0], *[name] * 5)] == [401] * 5
        times.append(processor_ms(stack))
    known, unknown = times[1] - times[0], times[2] - times[1]
    assert known > 5 * TICK_MS, "no hashes are computed"
    assert 0.5 < unknown / known < 2


def test_eleventh_wrong_login_in_a_minute_waits(stack: Stack, door: Door, attackers: list[Container]) -> None:
    seen = Visitor(door, "alice")
    assert seen.ask() == 200
    answers = guess(stack, attackers[1], *["carol"] * 11)
    assert [status for status, *_ in answers] == [401] * 10 + [429]
    _, wait, body = answers[-1]
    assert 0 < wait <= 60
    assert "too many wrong logins" in body
    # At no cost: the names do not matter any more.
    before = processor_ms(stack)
    assert {status for status, *_ in guess(stack, attackers[1], *["alice", "carol", "nobody", "mallory"] * 25)} == {429}
    assert processor_ms(stack) - before < 25 * TICK_MS
    # A colleague at the guesser's address waits in line, on a connection of his own.
    assert [status for status, *_ in guess(stack, attackers[1], f"dave:{PASSWORD}")] == [200]
    # Others' guesses keep nobody out: neither who was seen before, nor who comes for the first time, guessed at or not.
    assert seen.ask() == 200
    assert Visitor(door, "alice").ask() == 200
    assert Visitor(door, "bob").ask() == 200
    assert Visitor(door, "carol").ask() == 200


def open_crowd(door: Door, held: list[socket.socket]) -> None:
    """Opens connections that ask for nothing or begin to: before TLS, in the handshake, in a header, and in a body."""
    hello = b"\x16\x03\x01\x04\x00\x01\x00\x03\xfc" + bytes(500)
    begun = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    ]
    for kind in range(4):
        for _ in range(CROWD):
            # Most are closed again, in part while they are being made.
            with contextlib.suppress(OSError):
                made = socket.create_connection(("127.0.0.1", door.port), timeout=10)
                held.append(made)
                if kind == 1:
                    made.sendall(hello)
                if kind > 1:
                    made = door.context.wrap_socket(made, server_hostname="localhost")
                    held.append(made)
                    made.sendall(begun[kind - 2] + b"x" * (15000 if kind == 2 else 3))


def lets_in(door: Door, name: str) -> bool:
    """Tells whether a new connection of this user's is answered; clients repeat one that breaks off."""
    try:
        return Visitor(door, name).ask() == 200
    except OSError:
        return False


def test_silent_crowd_harms_no_user(stack: Stack, door: Door, client: MlflowClient) -> None:
    """A thousand connections from the very address that users have: requests go on, and an upload arrives whole."""
    before = stack.container("proxy").attrs
    run = client.create_run("0").info
    path = f"/api/2.0/mlflow-artifacts/artifacts/{run.artifact_uri.partition(':/')[2]}/slow.bin"
    piece, over, sent = bytes(range(256)) * 64, threading.Event(), [0]
    held: list[socket.socket] = []
    statuses: list[int] = []

    def pieces() -> Iterator[bytes]:
        while not over.wait(0.02):
            sent[0] += len(piece)
            yield piece

    upload = threading.Thread(target=lambda: statuses.append(Visitor(door, "alice").ask("PUT", path, pieces())))
    crowd = threading.Thread(target=open_crowd, args=(door, held))
    visitor = Visitor(door, "alice")
    assert visitor.ask() == 200
    try:
        upload.start()
        wait_until(lambda: sent[0] > 8 * len(piece), "the upload is under way", 10)
        crowd.start()
        while crowd.is_alive():
            assert visitor.ask() == 200
        assert len(held) > 2 * CROWD
        # Who shares the crowd's address is let in when its youngest connections have had their quarter of a second.
        for name in ("alice", "bob", "carol") * 3:
            wait_until(partial(lets_in, door, name), f"{name} gets in", 2)
    finally:
        over.set()
        for one in held:
            one.close()
        upload.join(60)
    assert statuses == [200]
    assert [(file.path, file.file_size) for file in client.list_artifacts(run.run_id)] == [("slow.bin", sent[0])]
    state = stack.container("proxy").attrs
    assert (state["RestartCount"], state["State"]["StartedAt"]) == (0, before["State"]["StartedAt"])
    assert not state["State"]["OOMKilled"]


def test_http2_is_not_offered(door: Door) -> None:
    """Its hundreds of requests on one connection, with their buffers, do not fit into the memory."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", door.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as made,
    ):
        assert made.selected_alpn_protocol() == "http/1.1"
