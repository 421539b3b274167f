"""The web application: MLflow's scoring protocol for the model of the moment, with bounds, and errors in one shape.

A request is answered by the model that is current when it comes: it never sees two, and a promotion loses none. The
trainer's own models answer by themselves; any other has MLflow's scoring server in front of it.

Requests that come at the same time are answered one by one. Put together into one call, 64 rows take 13 us each of the
trees' time instead of 16, and waiting for one another costs a request more than that.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from trainer.serving.asgi import Application, Receive, Scope, Send, send_reply
from trainer.serving.champion import Champion, ServedModel
from trainer.serving.counts import Counts
from trainer.serving.own_model import Reply, refusal

#: Bytes. A request up to here is answered at once, in a millisecond; a larger one in a thread, so that others need not
#: wait for it.
_SMALL = 4_096
#: Seconds between two writings of what was counted.
_WRITTEN_EACH = 5.0
_LOOKS = ("/ping", "/health", "/version")


@dataclass(frozen=True)
class Bounds:
    """How large a request may be, in bytes, how many are worked on at a time, and how long, in seconds; others wait."""

    body: int = 4 * 1024**2
    concurrency: int = 4
    seconds: float = 60.0


class Serving:
    """An ASGI application that serves a champion, and looks for a new one at an interval.

    Args:
        champion: What is served.
        interval: Seconds between two looks.
        bounds: What a request may be.
        looks_first: Whether its first look comes before its first request. That is for one of several processes on a
            port: without a model yet, it would refuse what another one can answer.
        counts: Counts what is served; None where nobody asks for metrics.
    """

    def __init__(
        self,
        champion: Champion,
        interval: float,
        bounds: Bounds,
        *,
        looks_first: bool = False,
        counts: Counts | None = None,
    ) -> None:
        self._champion, self._interval, self._bounds, self._looks_first = champion, interval, bounds, looks_first
        self._counts = counts
        self._current: tuple[ServedModel, Application | None] | None = None
        self._slots = asyncio.Semaphore(bounds.concurrency)
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            if self._counts is None:
                await self._answer(scope, receive, send)
            else:
                begin = time.perf_counter()
                status = await self._answer(scope, receive, send)
                self._counts.request(scope["path"], status, time.perf_counter() - begin)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer a request; return the status."""
        current = self._current
        if current is None:
            why = self._champion.said
            message = f"there is no model to serve yet: {self._champion.uri}" + (f": {why}" if why else "")
            return await send_reply(send, refusal(503, "TEMPORARILY_UNAVAILABLE", message))
        loaded, application = current
        if scope["path"] != "/invocations" or scope["method"] != "POST":
            if application is not None:
                from trainer.serving.mlflow_scoring_server import passed_on, shaped

                return await passed_on(application, scope, receive, shaped(send, loaded.uri))
            return await send_reply(send, _other(scope["method"], scope["path"]), loaded.uri)
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").strip().lower()
        if not kind:
            message = "the request has no Content-Type: application/json or text/csv"
            return await send_reply(send, refusal(415, "BAD_REQUEST", message))
        async with self._slots:
            try:
                async with asyncio.timeout(self._bounds.seconds) as limit:
                    body = await _read(receive, headers, self._bounds.body)
                    if body is None:
                        most = f"{self._bounds.body:,} bytes"
                        message = f"the request is larger than {most}; send the rows in several requests"
                        return await send_reply(send, refusal(413, "BAD_REQUEST", message))
                    if application is not None:
                        return await self.answer_by_mlflow(application, loaded.uri, scope, body, receive, send)
                    reply = await _predict(loaded, body, kind.decode("latin-1"))
                    if asyncio.get_running_loop().time() > (limit.when() or 0):
                        # Nothing was awaited: the clock has to be asked.
                        raise TimeoutError
                    if self._counts is not None:
                        self._counts.reply(loaded.uri, reply)
                    await send_reply(send, reply, loaded.uri)
                    if loaded.own is not None and (line := loaded.own.unseen.due()) is not None:
                        self._champion.tell(f"{loaded.uri}: {line}")
                    return reply.status
            except TimeoutError:
                message = f"no answer within {self._bounds.seconds:g} s; send the rows in several requests"
                return await send_reply(send, refusal(504, "DEADLINE_EXCEEDED", message), loaded.uri)

    @staticmethod
    async def answer_by_mlflow(
        application: Application, uri: str, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> int:
        """Pass a request whose body was read on to MLflow's scoring server; return the answer's status."""
        from trainer.serving.mlflow_requests import wrong
        from trainer.serving.mlflow_scoring_server import passed_on, replayed, shaped

        is_csv = dict(scope["headers"])[b"content-type"].strip().lower().startswith(b"text/csv")
        if (what := wrong(body, is_csv=is_csv)) is not None:
            return await send_reply(send, refusal(400, "BAD_REQUEST", what), uri)
        return await passed_on(application, scope, replayed(body, receive), shaped(send, uri))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._looks_first:
            await asyncio.to_thread(self._look)
        self._tasks.append(asyncio.create_task(self._follow()))
        if self._counts is not None:
            self._tasks.append(asyncio.create_task(self._write(self._counts)))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._champion.end()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await send({"type": "lifespan.shutdown.complete"})

    async def _write(self, counts: Counts) -> None:
        while True:
            counts.look(self._champion)
            counts.write()
            await asyncio.sleep(_WRITTEN_EACH)

    async def _follow(self) -> None:
        # In a thread: requests are answered while a model is loaded.
        await asyncio.to_thread(self._take)
        while self._champion.followed:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(self._interval)

    def _look(self) -> None:
        if self._champion.followed:
            self._champion.check()
        self._take()

    def _take(self) -> None:
        loaded = self._champion.loaded
        if loaded is not None and (self._current is None or self._current[0] is not loaded):
            application = None
            if loaded.model is not None:
                from trainer.serving.mlflow_scoring_server import mlflow_application

                application = mlflow_application(loaded.model)
            self._current = (loaded, application)
            # What is loaded stays: without it, each of the collector's full rounds would hold up a request.
            gc.collect()
            gc.freeze()


async def _predict(loaded: ServedModel, body: bytes, kind: str) -> Reply:
    assert loaded.own is not None  # noqa: S101 - a model of others has an application
    # scikit-learn takes 20 ms for a row.
    if len(body) <= _SMALL and loaded.trees is not None:
        return loaded.trees.answer(body, kind, loaded.uri)
    return await asyncio.to_thread(loaded.own.answer, body, kind, loaded.uri)


def _other(method: str, path: str) -> Reply:
    """Return the answer to a request for something else than predictions, in MLflow's words."""
    known = path in ("/invocations", *_LOOKS)
    if known and path != "/invocations" and method == "GET":
        return Reply(200, _version() if path == "/version" else b"\n")
    status, what = (405, "Method Not Allowed") if known else (404, "Not Found")
    message = f'{{"detail":"{what}"}}; the endpoints are POST /invocations, GET /ping and GET /version'
    return refusal(status, what.upper().replace(" ", "_"), message)


@cache
def _version() -> bytes:
    from importlib.metadata import version

    return version("mlflow").encode()


async def _read(receive: Receive, headers: MutableMapping[bytes, bytes], most: int) -> bytes | None:
    """Return a request's body, or None for one that is too large; of that no more is read."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        return None
    message = await receive()
    if not message.get("more_body", False):
        whole: bytes = message.get("body", b"")
        return whole if len(whole) <= most else None
    body = bytearray(message.get("body", b""))
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > most:
            return None
    return bytes(body)
