"""The web application: MLflow's scoring server for the model of the moment, with bounds, and errors in one shape.

MLflow's application belongs to one model. This one hands each request to the application of the model that is current
when the request comes: a request never sees two models, and a promotion loses none.
"""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from trainer.serving.champion import Champion, ServedModel
from trainer.serving.columns import typed, wrong

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where MLflow's messages go on with the whole request, or with its history.
_WORDY = ("\nInput:", " IMPORTANT: The MLflow Model scoring protocol")
#: Says which model answered.
HEADER = b"x-model-uri"


@dataclass(frozen=True)
class Bounds:
    """How large a request may be, in bytes, how many are worked on at a time, and how long, in seconds; others wait."""

    body: int = 4 * 1024**2
    concurrency: int = 4
    seconds: float = 60.0


class Serving:
    """An ASGI application that serves a champion, and looks for a new one at an interval."""

    def __init__(self, champion: Champion, interval: float, bounds: Bounds) -> None:
        self._champion, self._interval, self._bounds = champion, interval, bounds
        self._current: tuple[ServedModel, Application] | None = None
        self._slots = asyncio.Semaphore(bounds.concurrency)
        self._follower: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        current = self._current
        if current is None:
            why = self._champion.said
            message = f"there is no model to serve yet: {self._champion.uri}" + (f": {why}" if why else "")
            await _refuse(send, 503, "TEMPORARILY_UNAVAILABLE", message)
            return
        loaded, application = current
        if scope["path"] != "/invocations" or scope["method"] != "POST":
            await application(scope, receive, _shaped(send, loaded.uri))
            return
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").strip().lower()
        if not kind:
            message = "the request has no Content-Type: application/json or text/csv"
            await _refuse(send, 415, "BAD_REQUEST", message)
            return
        async with self._slots:
            try:
                async with asyncio.timeout(self._bounds.seconds):
                    body = await _read(receive, headers, self._bounds.body)
                    if body is None:
                        most = f"{self._bounds.body:,} bytes"
                        message = f"the request is larger than {most}; send the rows in several requests"
                        await _refuse(send, 413, "BAD_REQUEST", message)
                        return
                    if (what := wrong(body, is_csv=kind.startswith(b"text/csv"))) is not None:
                        await _refuse(send, 400, "BAD_REQUEST", what, loaded.uri)
                        return
                    await application(scope, _replayed(body, receive), _shaped(send, loaded.uri))
            except TimeoutError:
                message = f"no answer within {self._bounds.seconds:g} s; send the rows in several requests"
                await _refuse(send, 504, "DEADLINE_EXCEEDED", message, loaded.uri)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._follower = asyncio.create_task(self._follow())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._follower.cancel()
        with suppress(asyncio.CancelledError):
            await self._follower
        await send({"type": "lifespan.shutdown.complete"})

    async def _follow(self) -> None:
        # In a thread: requests are answered while a model is loaded.
        await asyncio.to_thread(self._take)
        while self._champion.followed:
            await asyncio.to_thread(self._champion.check)
            await asyncio.to_thread(self._take)
            await asyncio.sleep(self._interval)

    def _take(self) -> None:
        loaded = self._champion.loaded
        if loaded is not None and (self._current is None or self._current[0] is not loaded):
            from mlflow.pyfunc import scoring_server

            # Held by `loaded` alone: FastAPI's caches keep an application's functions, and with them a model, for good.
            application = scoring_server.init(typed(weakref.proxy(loaded.model)))
            # Its only layer bounds the time of a request, which happens above at a fraction of the cost.
            application.user_middleware.clear()
            self._current = (loaded, application)
            # What is loaded stays: without it, each of the collector's full rounds would hold up a request.
            gc.collect()
            gc.freeze()


async def _read(receive: Receive, headers: MutableMapping[bytes, bytes], most: int) -> bytes | None:
    """Return a request's body, or None for one that is too large; of that no more is read."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _shaped(send: Send, uri: str) -> Send:
    """Return a ``send`` that adds which model answered, and gives errors their shape."""
    held: list[Message] = []

    async def shape(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (HEADER, uri.encode("latin-1", "replace"))]
            if message["status"] >= 400:
                message["body"] = b""
                held.append(message)
                return
        elif held:
            held[0]["body"] += message.get("body", b"")
            if not message.get("more_body", False):
                start = held[0]
                code, text = _error(start["status"], start["body"])
                await _refuse(send, start["status"], code, text, uri)
            return
        await send(message)

    return shape


def _error(status: int, body: bytes) -> tuple[str, str]:
    """Return an error's code and what is wrong, of what MLflow says: no traceback, none of the rows, no schema."""
    text = body.decode(errors="replace")
    code = HTTPStatus(status).phrase.upper().replace(" ", "_")
    try:
        content = json.loads(text)
    except ValueError:
        return code, text
    if "message" not in content:
        return code, f"{text}; the endpoints are POST /invocations, GET /ping and GET /version"
    message = str(content["message"])
    # "Failed to predict data '…'. \nError: Failed to enforce schema of data '…' with schema '…'. Error: <what>"
    message = message.rpartition("Error: ")[2] if message.startswith("Failed to") else message
    for rest in _WORDY:
        message = message.partition(rest)[0]
    return str(content.get("error_code") or code), message.strip()


async def _refuse(send: Send, status: int, code: str, message: str, uri: str = "") -> None:
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if uri:
        headers.append((HEADER, uri.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
