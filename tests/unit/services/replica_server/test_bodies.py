"""services/mlflow: bodies.py: what a request may bring, and who waits for it."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from flask import Flask, request
from replica_server import limits
from replica_server.requests import bodies
from starlette.middleware.wsgi import WSGIMiddleware

LARGEST = 200_000
LOG_METRIC = "/api/2.0/mlflow/runs/log-metric"
Message = MutableMapping[str, Any]


class Asked:
    """One request, and what came of it."""

    def __init__(self) -> None:
        self.seen: bytes | None = None
        self.headers: dict[bytes, bytes] = {}
        self.status = 0
        self.content = b""

    @property
    def message(self) -> str:
        """What the answer says."""
        return str(json.loads(self.content)["message"])


def ask(
    *pieces: bytes,
    path: str = LOG_METRIC,
    method: str = "POST",
    chunked: bool = False,
    silent: bool = False,
    instead: Any = None,
    **headers: str,
) -> Asked:
    """Sends a body in these pieces; a silent client ends it with nothing. ``instead`` answers them."""
    asked = Asked()
    sent = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if not chunked:
        sent.setdefault("content-length", str(sum(map(len, pieces))))
    else:
        sent["transfer-encoding"] = "chunked"
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if not silent:
        messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        asked.status = message.get("status", asked.status)
        asked.headers |= dict(message.get("headers", ()))
        asked.content += message.get("body", b"")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message.get("more_body"):
                break
        asked.seen = body
        asked.headers |= dict(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("localhost", 80),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    asyncio.run(bodies.Bodies(instead or application, LARGEST)(scope, receive, send))
    return asked


@pytest.mark.parametrize(
    "body", [b'{"key": "m", "value": "NaN"}', b"{}", b"null", b"", b' {"a": [1, {"b": 2e300}]}\n', b'"{}"']
)
def test_body_that_mlflow_reads_arrives_as_it_was(body: bytes) -> None:
    asked = ask(body)
    assert (asked.status, asked.seen) == (200, body)


def test_body_in_pieces_arrives_as_one() -> None:
    body = json.dumps({"text": "é" * 30_000}).encode()
    asked = ask(*(body[start : start + 1000] for start in range(0, len(body), 1000)), chunked=True)
    assert (asked.status, asked.seen) == (200, body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "is no JSON"),
        (b"run_id=1", "is no JSON"),
        (b"[1]", "has to be a JSON object"),
        (b"7", "has to be a JSON object"),
        (b'"text"', "is no JSON"),
        (b'{"a": "\xff"}', "is no UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is no UTF-8"),
        (b'{"a": 1e400}', "a number that is too large"),
        (b'{"a": -1e999}', "a number that is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number that is too large"),
        (b'{"a": NaN}', 'can be the text "NaN"'),
        (b'{"a": [-Infinity]}', 'can be the text "-Infinity"'),
        (b'{"a": "b\\u0000c"}', "character NUL"),
        (b'{"b\\u0000c": 1}', "character NUL"),
        (b'{"a": [{"b": ["\\u0000"]}]}', "character NUL"),
        (b'"{\\"a\\": \\"\\\\u0000\\"}"', "character NUL"),
        (b'{"a": "\x00"}', "is no JSON"),
        (b'{"a": "\\ud800"}', "half of a character"),
        (b'{"a": "\\uDFFFx"}', "half of a character"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper than 100"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested deeper than 100"),
    ],
)
def test_body_that_cannot_be_read_is_one_line(body: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ask(body)
    assert (asked.status, asked.seen) == (400, None)
    assert said in asked.message
    assert json.loads(asked.content)["error_code"] == "BAD_REQUEST"
    assert "\n" not in asked.message
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "body",
    [b'{"a": "\\\\u0000"}', b'{"a": "\\ud83d\\ude00"}', '{"a": "한"}'.encode(), b'{"a": "[[[[' + b"[" * 200 + b'"}'],
)
def test_text_that_only_looks_so_is_taken(body: bytes) -> None:
    assert ask(body).seen == body


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many values are refused and long texts are not."""
    monkeypatch.setattr(limits, "MOST_VALUES", 1000)
    assert ask(json.dumps({"text": "a, [b], {c}" * 1000, "quoted": '", ' * 1000}).encode()).status == 200
    assert ask(json.dumps({"values": [[]] * 1001}).encode()).status == 413


def test_large_body_is_refused_before_it_is_read() -> None:
    asked = ask(content_length=str(LARGEST + 1), silent=True)
    assert asked.status == 413
    assert f"{LARGEST:,} bytes" in asked.message


def test_body_that_grows_too_large_is_refused() -> None:
    assert ask(*[b" " * 50_000] * 5, chunked=True).status == 413


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "DEFLATE": raw_deflate}


@pytest.mark.parametrize("encoding", PACKERS)
def test_packed_body_arrives_unpacked(encoding: str) -> None:
    body = json.dumps({"text": "a" * 1000}).encode()
    asked = ask(PACKERS[encoding](body), content_encoding=encoding)
    assert (asked.status, asked.seen) == (200, body)
    assert b"content-encoding" not in asked.headers
    assert asked.headers[b"content-length"] == str(len(body)).encode()


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("path", [LOG_METRIC, "/v1/traces"])
def test_body_that_unpacks_large_is_refused(encoding: str, path: str) -> None:
    """Small body that unpacks to a large one is refused."""
    packed = PACKERS[encoding](bytes(50_000_000))
    assert len(packed) < LARGEST
    assert ask(packed, path=path, content_encoding=encoding, content_type="application/x-protobuf").status == 413


def test_packed_body_reaches_flask_whole() -> None:
    """Flask reads as many bytes as the length in the header says."""
    application = Flask("echo")
    application.add_url_rule(LOG_METRIC, "echo", lambda: request.get_json(), methods=["POST"])
    packed = gzip.compress(b'{"text": "' + b"a" * 1000 + b'"}')
    asked = ask(packed, content_encoding="gzip", instead=WSGIMiddleware(application))
    assert json.loads(asked.content) == {"text": "a" * 1000}


def test_refusal_has_the_security_headers() -> None:
    asked = ask(b"{")
    assert asked.status == 400
    assert asked.headers[b"x-content-type-options"] == b"nosniff"
    assert asked.headers[b"x-frame-options"] == b"SAMEORIGIN"


def test_packed_members_are_bounded_together() -> None:
    """Packed body of several members is bounded as a whole."""
    member = gzip.compress(bytes(LARGEST // 2))
    assert ask(member * 2, content_encoding="gzip", content_type="application/x-protobuf").seen == bytes(LARGEST)
    assert ask(member * 3, content_encoding="gzip").status == 413


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        # Without ids the bytes are the name, and gzip writes the time into them.
        pytest.param("br", b"{}", id="br"),
        pytest.param("gzip", b"{}", id="no-gzip"),
        pytest.param("gzip", gzip.compress(b"{}", mtime=0)[:-4], id="cut-gzip"),
        pytest.param("deflate", b"{}", id="no-deflate"),
    ],
)
def test_body_that_cannot_be_unpacked_is_a_400(encoding: str, body: bytes) -> None:
    assert ask(body, content_encoding=encoding).status == 400


def test_artifact_passes_through_whatever_it_is() -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/a/b.json"
    assert ask(b"{" * (2 * LARGEST), path=path, method="PUT").status == 200


@pytest.mark.parametrize(
    ("path", "kind"), [("/ajax-api/2.0/mlflow/upload-artifact", ""), ("/v1/traces", "application/x-protobuf")]
)
def test_other_body_is_not_read_as_json(path: str, kind: str) -> None:
    """Body that is not meant as JSON is not read as such."""
    assert ask(b"\x00\xff", path=path, content_type=kind).seen == b"\x00\xff"


@pytest.mark.parametrize(
    "kind", ["", "application/x-www-form-urlencoded", "Application/JSON; charset=utf-8", "application/problem+json"]
)
def test_json_is_checked_whatever_it_is_called(kind: str) -> None:
    assert ask(b"{", content_type=kind).status == 400


def test_silent_client_gets_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE", 0.1)
    asked = ask(b"{", content_length="100", silent=True)
    assert (asked.status, asked.headers[b"connection"]) == (408, b"close")


def test_endless_body_gets_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LONGEST", 0.1)
    assert ask(b"{", content_length="100", silent=True).status == 408


def test_request_without_a_body_is_not_waited_for() -> None:
    assert ask(path="/api/2.0/mlflow/experiments/search", method="GET").status == 200
