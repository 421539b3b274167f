"""Takes each request's body in before anything else is taken for the request, and refuses what MLflow could not bear.

MLflow reads a body of any size into memory, unpacks it without a bound, and answers a body that is no JSON with a
traceback. Here a client that sends slowly holds its connection and nothing else; a body that is too large, packed or
not, is a 413; one that MLflow cannot read or PostgreSQL cannot keep is a 400. Artifacts pass through another way,
whatever their size (artifacts/incoming.py).
"""

import asyncio
import json
import re
import sys
import tempfile
import time
import zlib
from contextlib import AsyncExitStack, nullcontext
from http import HTTPStatus
from typing import IO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replica_server import limits, places
from replica_server.artifacts import incoming
from replica_server.limits import BLOCK
from replica_server.places import Place, Places, StalledError
from replica_server.requests.answers import SECURITY_HEADERS
from replica_server.requests.json_checks import RefusedError, check_json

# Seconds without anything of a body, and for all of it.
SILENCE, LONGEST = 60.0, 600.0
ARTIFACTS = re.compile(r"/(ajax-)?api/2\.0/mlflow-artifacts/artifacts/")
# Where MLflow reads JSON, whatever the request says that it brings; and the routes there that take something else.
API, NOT_JSON = re.compile(r"/((ajax-)?api/|graphql)"), re.compile(r"/upload-artifact$")
JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json")
# What a client that names no type may send, curl's default among them.
VAGUE_TYPES = ("", "application/x-www-form-urlencoded")
# zlib's word for each encoding. A deflated body has zlib's frame, or none.
ENCODINGS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}

ERROR_CODES = {
    HTTPStatus.BAD_REQUEST: "BAD_REQUEST",
    HTTPStatus.REQUEST_TIMEOUT: "TEMPORARILY_UNAVAILABLE",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "INVALID_PARAMETER_VALUE",
    HTTPStatus.SERVICE_UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
}


class Bodies:
    """An application whose requests come with their whole body.

    Args:
        app: The application that answers them.
        largest: The most bytes that a body may have, as received and as unpacked.
    """

    def __init__(self, app: ASGIApp, largest: int = limits.LARGEST_BODY) -> None:
        self.app = app
        self.largest = largest
        self.arriving = Places(limits.ARRIVING)
        self.large = Places(limits.LARGE_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        size = int(headers.get(b"content-length") or 0)
        if scope["method"] == "PUT" and ARTIFACTS.match(scope["path"]):
            incoming.announced.set(size)
            await self.app(scope, receive, send)
        elif not size and b"transfer-encoding" not in headers:
            await self.app(scope, receive, send)
        else:
            async with AsyncExitStack() as held:
                try:
                    body = await self._body(scope, headers, size, receive, held)
                except RefusedError as error:
                    await self._refuse(scope, error, send)
                    return
                except Gone:
                    return

                async def send_and_leave(message: Message) -> None:
                    # MLflow has done its work, and the client may take its time.
                    await held.aclose()
                    await send(message)

                await self.app(as_it_is_now(scope, body), replayed(body, receive), send_and_leave)

    async def _body(
        self, scope: Scope, headers: dict[bytes, bytes], size: int, receive: Receive, held: AsyncExitStack
    ) -> bytes:
        """Returns the body as MLflow is to read it; `held` is what it holds until it is answered."""
        if size > self.largest:
            raise self._too_large()
        encodings = headers.get(b"content-encoding", b"").decode("latin-1").lower().split(",")
        encodings = [name.strip() for name in encodings if name.strip() not in ("", "identity")]
        if unknown := [name for name in encodings if name not in ENCODINGS]:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Unsupported Content-Encoding: {unknown[0][:40]!r}")
        with tempfile.SpooledTemporaryFile(BLOCK) as file:
            await self._collect(receive, file)
            received = file.tell()
            if received > BLOCK or encodings:
                await held.enter_async_context(self.large.hold())
            file.seek(0)
            body = file.read()
        check = wants_json(scope["path"], headers)
        if not encodings and not check:
            return body
        if received <= limits.SMALL_BODY and not encodings:
            return self._ready(body, encodings, check)
        return await asyncio.to_thread(self._ready, body, encodings, check)

    def _ready(self, body: bytes, encodings: list[str], check: bool) -> bytes:
        for encoding in reversed(encodings):
            body = self._unpacked(body, encoding)
        if check:
            check_json(body)
        return body

    def _unpacked(self, body: bytes, encoding: str) -> bytes:
        for bits in ENCODINGS[encoding]:
            unpacked, rest = bytearray(), body
            try:
                while rest:
                    member = zlib.decompressobj(bits)
                    unpacked += member.decompress(rest, self.largest + 1 - len(unpacked))
                    if len(unpacked) > self.largest:
                        raise self._too_large()
                    if not member.eof:
                        break
                    rest = member.unused_data
                else:
                    return bytes(unpacked)
            except zlib.error:
                continue
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"The body cannot be unpacked as {encoding}")

    async def _collect(self, receive: Receive, file: IO[bytes]) -> None:
        """Writes the body to a file; nothing but a few bytes is in memory before there is a place for them."""
        more, last = True, time.monotonic()
        try:
            async with asyncio.timeout(LONGEST), AsyncExitStack() as holding:
                place: Place | None = None
                while more:
                    with place.of_the_client(last) if place else nullcontext():
                        async with asyncio.timeout(SILENCE):
                            message = await receive()
                    last = time.monotonic()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    if file.tell() + len(chunk) > self.largest:
                        raise self._too_large()
                    file.write(chunk)
                    if place is None and file.tell() > limits.SMALL_BODY:
                        place = await holding.enter_async_context(self.arriving.hold())
        except StalledError:
            said = places.ended("The request sent nothing")
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, said) from None
        except TimeoutError:
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time") from None

    def _too_large(self) -> RefusedError:
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A request may bring {self.largest:,} bytes, as sent and as unpacked ({limits.BODY_SETTING}); "
            "files are uploaded as artifacts",
        )

    async def _refuse(self, scope: Scope, error: RefusedError, send: Send) -> None:
        path = scope["path"][:100]
        print(f"refused: {scope['method']} {path!r}: {error.status}: {error}", file=sys.stderr, flush=True)
        content = json.dumps({"error_code": ERROR_CODES[error.status], "message": str(error)}).encode()
        named = {**SECURITY_HEADERS, "content-type": "application/json", "content-length": str(len(content))}
        headers = [(name.encode(), text.encode()) for name, text in named.items()]
        if error.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE):
            # The rest of the body would be taken for the next request's beginning, or waited for.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": int(error.status), "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Gone(Exception):  # noqa: N818 - no error of ours
    """The client went before its request had come."""


def replayed(body: bytes, receive: Receive) -> Receive:
    """Returns a source of this body; what comes after it is the connection's end."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


def as_it_is_now(scope: Scope, body: bytes) -> Scope:
    """Returns a request's details with the body's size, and without the words that it is packed or comes in chunks."""
    of_the_former = (b"content-encoding", b"content-length", b"transfer-encoding")
    headers = [header for header in scope["headers"] if header[0] not in of_the_former]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}


def wants_json(path: str, headers: dict[bytes, bytes]) -> bool:
    """Returns whether MLflow would read a request's body as JSON."""
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if JSON_TYPE.fullmatch(kind):
        return True
    return kind in VAGUE_TYPES and API.match(path) is not None and not NOT_JSON.search(path)
