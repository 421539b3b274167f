"""services/mlflow: draining.py: a server that ends loses no request, of real clients on a real port."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from replica_server.draining import Draining, Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

pytestmark = pytest.mark.process

# Seconds for which the server drains here.
DRAIN = 1


async def length(request: Request) -> PlainTextResponse:
    """Answers with how many bytes have come."""
    return PlainTextResponse(str(len(await request.body())))


async def health(_: Request) -> PlainTextResponse:
    """Answers as MLflow does."""
    return PlainTextResponse("OK")


class Running:
    """A server in a thread.

    Args:
        drain: Seconds for which it drains.
    """

    def __init__(self, drain: int) -> None:
        app = Starlette(routes=[Route("/length", length, methods=["POST"]), Route("/health", health)])
        draining = Draining(app)
        self.server = Server(uvicorn.Config(draining, port=0, log_level="warning"), draining, drain)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        deadline = time.monotonic() + 30
        while not self.server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.port = int(self.server.servers[0].sockets[0].getsockname()[1])

    def connect(self) -> http.client.HTTPConnection:
        """Returns a client with a connection of its own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def end(self) -> None:
        """Does what SIGTERM does: a signal reaches the main thread alone, which is pytest's."""
        self.server.handle_exit(signal.SIGTERM, None)
        # Only what has ended by itself is looked at here.
        self.server._captured_signals.clear()


@pytest.fixture
def running() -> Iterator[Running]:
    """A server that drains."""
    server = Running(DRAIN)
    yield server
    server.server.should_exit = True
    server.thread.join(30)


def ask(client: http.client.HTTPConnection, path: str, body: bytes | None = None) -> tuple[int, str, str | None]:
    """Returns status, body and the header Connection of an answer."""
    client.request("POST" if body is not None else "GET", path, body)
    answer = client.getresponse()
    return answer.status, answer.read().decode(), answer.headers["connection"]


def test_ending_server_refuses_health_alone(running: Running) -> None:
    """The balancer is told to go elsewhere; whoever asks meanwhile is answered, and their connection closed."""
    client = running.connect()
    assert ask(client, "/health") == (200, "OK", None)
    assert ask(client, "/length", b"12345") == (200, "5", None)
    running.end()
    assert ask(client, "/length", b"123") == (200, "3", "close")
    assert ask(running.connect(), "/health") == (503, "this server is ending", "close")
    assert ask(running.connect(), "/length", b"") == (200, "0", "close")


def test_ending_server_finishes_an_upload(running: Running) -> None:
    """It takes no connection any more, and an upload that has begun before goes on to its end."""
    client = running.connect()
    client.putrequest("POST", "/length")
    client.putheader("Content-Length", "8")
    client.endheaders(b"1234")
    running.end()
    deadline = time.monotonic() + 20 * DRAIN
    while running.server.servers[0].is_serving():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        running.connect().connect()
    client.send(b"5678")
    assert client.getresponse().read() == b"8"
    running.thread.join(30)
    assert not running.thread.is_alive()


def test_second_signal_ends_at_once(running: Running) -> None:
    running.server.seconds = 3600
    running.end()
    assert running.server.draining.begun
    assert not running.server.should_exit
    running.end()
    assert running.server.should_exit


def test_only_server_ends_at_once() -> None:
    """Without other servers there is nobody to send clients to."""
    server = Running(drain=0)
    server.end()
    assert server.server.should_exit
    assert not server.server.draining.begun
    server.thread.join(30)
    assert not server.thread.is_alive()
