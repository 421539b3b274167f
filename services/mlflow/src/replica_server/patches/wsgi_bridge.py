"""Sends answers of MLflow's Flask routes as fast as the client reads, and bounds how many of each kind run at a time.

An answer that is whole goes from its thread to the event loop at once. One that comes in pieces takes a message between
the two for each of them.

Replaces: `mlflow.server.fastapi_app._EfficientWSGIResponder`.
Gain: 192 MiB that the UI downloads slowly take 3 MiB of memory instead of 177. A storage that hangs does not keep runs
    from being tracked. A create_run takes 0.8 ms of the event loop instead of 1.1.
Upstream: mlflow#24074: Starlette's WSGI bridge, on which MLflow's is built, is deprecated.
Test: test_outages.py; tests/integration/test_large_artifacts.py, test_load.py.
Goes when: MLflow's routes are ASGI, or its bridge waits for the client and can be bounded by path.
"""

import sys
from typing import Any

import anyio
from mlflow.server import fastapi_app
from starlette.middleware.wsgi import build_environ

from replica_server import limits, places
from replica_server.artifacts import transfer
from replica_server.patches.replace import replace
from replica_server.places import Places
from replica_server.requests.answers import on_status


class AnswerPlaces:
    """The places of the WSGI part's answers, each of which has a thread.

    Those that wait for the storage have places of their own: a storage that hangs, or slow downloads in the UI, would
    hold all of them, and runs could be neither tracked nor looked at. So have those that go to the client in pieces
    (patches/searches.py), and wait for one that is slow.

    Args:
        workers: How many requests MLflow works on at a time.
    """

    def __init__(self, workers: int) -> None:
        self.workers = Places(workers)
        self.from_storage = Places(limits.FROM_STORAGE)
        self.in_pieces = Places(limits.IN_PIECES)

    def of(self, path: str) -> Places:
        """Returns the places of the requests for a path."""
        # Every path that leads to the storage has the word in it.
        if "artifact" in path:
            return self.from_storage
        return self.in_pieces if path.endswith(("/runs/search", "/metrics/get-history")) else self.workers


class Responder(fastapi_app._EfficientWSGIResponder):
    """Answers one request in a thread; a few pieces of the answer wait for the client, and not all of it.

    When the client goes away, the rest of its answer is not made.
    """

    places: AnswerPlaces

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, scope)
        self.stream_send, self.stream_receive = anyio.create_memory_object_stream(transfer.AHEAD)
        #: The answer when it is whole: its beginning and its only piece.
        self.whole: list[Any] = []

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answers."""
        self.receive = receive
        path = self.scope["path"]
        async with self.places.of(path).hold(places.is_health_check(self.scope)) as self.place:
            try:
                await self._answer(send)
            except* anyio.BrokenResourceError:
                # What came of sending a piece to a client that has gone.
                pass
        if self.place.ended:
            print(f"error: {places.ended(f'The answer to {path!r} was not read')}", file=sys.stderr, flush=True)

    async def _answer(self, send: Any) -> None:
        body = bytearray()
        more = True
        while more:
            message = await self.receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        environ = build_environ(self.scope, bytes(body))
        async with anyio.create_task_group() as group:
            self.begin_sending = lambda: group.start_soon(self.sender, send)
            async with self.stream_send:
                await anyio.to_thread.run_sync(self.wsgi, environ, self.start_response)
        with anyio.CancelScope() as scope, self.place.of_the_client():
            self.place.end = scope.cancel
            for message in self.whole:
                await send(message)

    def start_response(self, status: str, response_headers: Any, _exc_info: Any = None) -> None:
        """Begins the answer, and tells its status to who asks for it, also when the client has gone."""
        code = int(status.split(" ", 1)[0])
        if (tell := on_status.get()) is not None:
            tell(code)
        headers = [
            (name.strip().encode("ascii").lower(), value.strip().encode("ascii")) for name, value in response_headers
        ]
        self.start: dict[str, Any] = {"type": "http.response.start", "status": code, "headers": headers}

    def wsgi(self, environ: Any, start_response: Any) -> None:
        """Has MLflow answer, in a thread."""
        pieces = iter(self.app(environ, start_response))
        # The application has begun its answer when it gives the first piece.
        piece: bytes | None = next(pieces, b"")
        length = dict(self.start["headers"]).get(b"content-length")
        if len(piece or b"") <= limits.BLOCK and length == b"%d" % len(piece or b""):
            self.whole = [self.start, {"type": "http.response.body", "body": piece}]
            return
        anyio.from_thread.run_sync(self.begin_sending)
        self._hand_over(self.start)
        while piece is not None:
            self._hand_over({"type": "http.response.body", "body": piece, "more_body": True})
            piece = next(pieces, None)
        self._hand_over({"type": "http.response.body", "body": b""})

    def _hand_over(self, message: Any) -> None:
        anyio.from_thread.run(self.stream_send.send, message)

    async def sender(self, send: Any) -> None:
        """Sends the answer's pieces as they come."""

        async def send_in_time(message: Any) -> None:
            with self.place.of_the_client():
                await send(message)

        async with anyio.create_task_group() as group:
            self.place.end = group.cancel_scope.cancel

            async def stop_when_the_client_goes() -> None:
                while (await self.receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(stop_when_the_client_goes)
            await super().sender(send_in_time)
            group.cancel_scope.cancel()


def apply(workers: int = limits.WORKERS) -> None:
    """Has MLflow answer in this way, so many requests at a time."""
    Responder.places = AnswerPlaces(workers)
    replace(fastapi_app, "_EfficientWSGIResponder", lambda _: Responder)
