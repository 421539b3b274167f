"""services/mlflow: while MinIO is away, a request is answered with 503; one that hangs leaves threads to others."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from replica_server import logs, settings
from replica_server.artifacts.s3 import S3Repository

FULL = b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum</Message></Error>"
CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>Conflict.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"


class Storage(BaseHTTPRequestHandler):
    """Answers each request with the same error."""

    status, body = 507, FULL

    def do_PUT(self) -> None:
        """Answers."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_PUT  # noqa: N815 - as http.server calls it

    def log_message(self, *_: object) -> None:
        """Is silent."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], S3Repository]:
    """Makes a repository in the storage at an address, of which an attempt is one request."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def make(address: str) -> S3Repository:
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", address)
        return S3Repository("s3://bucket/folder")

    return make


Operation = Callable[[S3Repository], object]
WRITES: list[Operation] = [
    lambda repository: repository.write_object(io.BytesIO(b"text"), 4, "a.txt"),
    lambda repository: repository.write_object(io.BytesIO(bytes(9 * 2**20)), None, "large"),
]
READS: list[Operation] = [
    lambda repository: repository.list_artifacts(),
    lambda repository: repository.read_object("a.txt", io.BytesIO()),
]


def status_and_words(repository: S3Repository, operation: Operation) -> tuple[int, str]:
    """Returns with what status a failing operation is answered, and what is said."""
    with pytest.raises(MlflowException) as raised:
        operation(repository)
    return raised.value.get_http_status_code(), raised.value.message  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("operation", WRITES + READS)
def test_storage_that_is_away_is_a_503(repository: Callable[[str], S3Repository], operation: Operation) -> None:
    status, said = status_and_words(repository("http://127.0.0.1:9"), operation)
    assert status == 503
    assert said.startswith("The artifacts' storage does not answer: ")


@pytest.mark.process
@pytest.mark.parametrize("operation", WRITES)
def test_storage_that_is_full_is_a_503(
    repository: Callable[[str], S3Repository], address: str, operation: Operation
) -> None:
    status, said = status_and_words(repository(address), operation)
    assert status == 503
    assert said.startswith("The artifacts' storage fails: ")
    assert "Storage backend has reached its minimum" in said


@pytest.mark.process
def test_two_uploads_at_once_are_a_503(
    repository: Callable[[str], S3Repository],
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no name is written again, S3 may leave open which of two came first: the client asks once more."""
    monkeypatch.setenv(settings.OVERWRITE, "refuse")
    monkeypatch.setattr(Storage, "status", 409)
    monkeypatch.setattr(Storage, "body", CONFLICT)
    status, said = status_and_words(repository(address), WRITES[0])
    assert status == 503
    assert "Two uploads under one name at the same time" in said


@pytest.mark.process
@pytest.mark.parametrize("operation", WRITES)
def test_storage_that_denies_is_no_outage(
    repository: Callable[[str], S3Repository],
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
) -> None:
    monkeypatch.setattr(Storage, "status", 403)
    monkeypatch.setattr(Storage, "body", DENIED)
    status, said = status_and_words(repository(address), operation)
    assert status == 403
    assert said.startswith("The artifacts' storage refuses: ")
    assert "Access Denied" in said


@pytest.fixture
def log() -> Iterator[None]:
    """Has this process log, as the server does: after a command of the trainer, in an earlier test, it is silent."""
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET)
    yield
    logging.disable(before)


Application = Callable[[dict[str, str], Callable[..., object]], Iterable[bytes]]
Message = MutableMapping[str, Any]


@pytest.fixture
def responder(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.server import fastapi_app

    monkeypatch.setattr(fastapi_app, "_EfficientWSGIResponder", fastapi_app._EfficientWSGIResponder)
    from replica_server.patches import wsgi_bridge

    wsgi_bridge.apply()


async def ask(
    application: Application, path: str, send: Callable[[Message], Awaitable[None]], gone: asyncio.Event | None = None
) -> None:
    from mlflow.server import fastapi_app

    messages: list[Message] = [{"type": "http.request"}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}
    await fastapi_app._EfficientWSGIMiddleware(application)(scope, receive, send)


@pytest.mark.usefixtures("responder")
@pytest.mark.parametrize(
    "paths",
    [
        ["/api/2.0/mlflow/artifacts/list", "/get-artifact"],
        ["/api/2.0/mlflow/runs/search", "/ajax-api/2.0/mlflow/metrics/get-history"],
    ],
)
def test_hanging_storage_leaves_threads_free(paths: list[str]) -> None:
    """Storage or client that hangs leaves threads to other requests."""
    goes_on = threading.Event()
    answered: list[str] = []

    def application(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        if environ["PATH_INFO"] != "/tracking":
            assert goes_on.wait(30)
        start_response("200 OK", [])
        answered.append(environ["PATH_INFO"])
        return [b""]

    async def send(_message: Message) -> None:
        return

    async def talk() -> None:
        waiting = [asyncio.create_task(ask(application, path, send)) for path in paths * 30]
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(ask(application, "/tracking", send), 10)
            assert answered == ["/tracking"]
        finally:
            goes_on.set()
        await asyncio.gather(*waiting)
        assert len(answered) == 61

    asyncio.run(talk())


@pytest.mark.usefixtures("responder")
def test_rest_of_answer_is_not_made_for_nobody() -> None:
    """The rest of an answer is not made for a client that is slow or has gone."""
    made: list[int] = []

    def application(_environ: dict[str, str], start_response: Callable[..., object]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(1000):
            made.append(number)
            yield b"piece"

    async def talk() -> None:
        gone = asyncio.Event()

        async def send(message: Message) -> None:
            # As uvicorn's: it says nothing of a client that has gone, and waits for one that is slow.
            if message.get("body"):
                await asyncio.sleep(0.3)
                gone.set()
                await asyncio.sleep(1)

        await asyncio.wait_for(ask(application, "/runs/search", send, gone), 10)

    asyncio.run(talk())
    assert 0 < len(made) < 20


@pytest.mark.usefixtures("responder")
@pytest.mark.parametrize("body", [b"{}", b"", bytes(2**20)])
def test_whole_answer_is_two_messages(body: bytes) -> None:
    """An answer of one piece, whose length is known, is its beginning and its body."""

    def application(_environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body))), ("X-Name", " value ")])
        return [body] if body else []

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(ask(application, "/tracking", send))
    headers = [(b"content-length", b"%d" % len(body)), (b"x-name", b"value")]
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]


@pytest.mark.usefixtures("responder")
@pytest.mark.parametrize("pieces", [[b"ab", b"c"], [bytes(2**20 + 1)], [b""], []])
def test_answer_in_pieces_keeps_them(pieces: list[bytes]) -> None:
    """More than one piece, a large one, or none where a length is given (HEAD): each is sent as it comes."""

    def application(_environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(max(sum(map(len, pieces)), 3)))])
        return pieces

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(ask(application, "/tracking", send))
    assert sent[0]["type"] == "http.response.start"
    assert b"".join(message["body"] for message in sent[1:]) == b"".join(pieces)
    assert [message.get("more_body", False) for message in sent[1:]] == [*(True for _ in sent[2:]), False]


@pytest.mark.usefixtures("responder")
def test_broken_answer_does_not_look_complete() -> None:
    """An answer that breaks off does not look complete."""

    def application(_environ: dict[str, str], start_response: Callable[..., object]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"piece"
        raise MlflowException("gone")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(ExceptionGroup):
        asyncio.run(ask(application, "/runs/search", send))
    assert all(message.get("more_body") for message in sent if message["type"] == "http.response.body")


@pytest.mark.usefixtures("log")
def test_database_loss_in_an_answer_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that the database breaks off is one line. Other failures keep their traceback."""
    logs.shorten_broken_answers()
    logger = logging.getLogger("uvicorn.error")
    # A server that another test started in this process has its own settings of the log: a level, no way to the root.
    caplog.set_level(logging.ERROR, logger.name)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    for error in (MlflowException("gone"), ValueError("a bug")):
        logger.error("Exception in ASGI application\n", exc_info=ExceptionGroup("unhandled", [error]))
    assert [record.getMessage().strip() for record in caplog.records] == [
        "error: an answer broke off: gone",
        "Exception in ASGI application",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


@pytest.mark.usefixtures("responder")
def test_status_is_known_though_the_client_has_gone() -> None:
    """The record of changes says how a change went whose client did not wait for the answer."""
    from replica_server.requests.answers import on_status

    told: list[int] = []
    gone, left = asyncio.Event(), threading.Event()

    def application(_environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        loop.call_soon_threadsafe(gone.set)
        assert left.wait(10)
        start_response("403 FORBIDDEN", [])
        return [b""]

    async def send(_message: Message) -> None:
        raise AssertionError

    async def talk() -> None:
        on_status.set(told.append)
        asked = asyncio.create_task(ask(application, "/tracking", send, gone))
        await gone.wait()
        # The answer's way ends in the turns of the event loop that follow.
        for _ in range(20):
            await asyncio.sleep(0)
        left.set()
        await asyncio.wait_for(asked, 10)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(talk())
    assert told == [403]
