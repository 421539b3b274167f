"""Repositories that pass artifacts through as they come, and the answer to a download that does so.

MLflow's server collects each artifact in a temporary file first, and its client of Cloud Storage reads 100 MiB of it
at a time. For uploads it knows repositories that can do better, of which these are; for downloads the route here takes
the place of MLflow's.
"""

import asyncio
import io
import json
import posixpath
import shutil
import sys
import tempfile
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact.artifact_repo import StreamUploadMixin
from starlette.types import Message, Receive, Scope, Send

from app import kept, limits, overwriting, transfer, turns
from app.removal import Removed
from app.turns import StalledError, Turn, Turns

# Up to this size an artifact is one request to the storage; a larger one goes in pieces.
SMALL = 8 * 2**20
# The answers of MLflow's WSGI part, each of which has a thread. Those that wait for the storage have places of their
# own: a storage that hangs, or slow downloads in the UI, would hold all of them, and runs could be neither tracked nor
# looked at. So have those that go to the client in pieces (searches.py), and wait for one that is slow.
WORKERS = Turns(limits.workers())
FROM_STORAGE = Turns(limits.FROM_STORAGE)
IN_PIECES = Turns(limits.IN_PIECES)
# MLflow's functions around each request that this stack has no use for.
UNUSED = ("workspace_context_middleware", "gateway_timing_middleware")

router = APIRouter()


def unavailable(said: str) -> MlflowException:
    """Returns the answer to a request that a later attempt may get through: MLflow's client repeats it."""
    return MlflowException(said, error_code=TEMPORARILY_UNAVAILABLE)


class StreamedRepository(StreamUploadMixin):
    """What a storage's repository adds to MLflow's own; `path` is relative to the repository's address."""

    @abstractmethod
    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds: so many bytes, or too many to be one request (None).

        Raises:
            FileExistsError: There is an object of that name, and the storage does not replace it.
        """

    @abstractmethod
    def read_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`; raises FileNotFoundError when there is none."""

    @abstractmethod
    def address(self, path: str) -> str:
        """Returns an object's address, with scheme and bucket."""

    @abstractmethod
    def size_of(self, path: str) -> int | None:
        """Returns an object's size in bytes; None when there is none."""

    @abstractmethod
    def checksum_of(self, path: str) -> bytes:
        """Returns the CRC32C of an object's content; raises FileNotFoundError when there is none."""

    @abstractmethod
    def versions(self) -> Iterator[Any]:
        """Yields all versions of all objects below the repository's address, as the storage describes them."""

    @abstractmethod
    def remove_versions(self) -> Removed:
        """Removes all versions of all objects below the repository's address; for garbage collection alone.

        Raises:
            RemovalError: The storage has refused one.
        """

    def delete_artifacts(self, artifact_path: str | None = None) -> None:  # noqa: ARG002 - MLflow's name
        """Refuses: the server deletes nothing, also where the account with which it replaces objects could."""
        raise kept.refusal()

    def accept_if_same(self, path: str, size: int, checksum: bytes) -> None:
        """Takes an upload that the storage has refused for done when the object holds the same bytes.

        Raises:
            MlflowException: It holds others: the answer to the client.
        """
        with suppress(FileNotFoundError):
            if self.size_of(path) == size and self.checksum_of(path) == checksum:
                return
        raise overwriting.refusal(self.address(path))

    def store(self, path: str, incoming: transfer.Incoming) -> None:
        """Stores a request's body. Whether an object of that name is replaced is a setting (app.overwriting)."""
        try:
            self._store(path, incoming)
        except FileExistsError:
            incoming.drain()
            self.accept_if_same(path, incoming.received, incoming.checksum.digest())  # type: ignore[no-untyped-call]

    def _store(self, path: str, incoming: transfer.Incoming) -> None:
        head = incoming.read(SMALL + 1)
        if len(head) <= SMALL:
            self.write_object(io.BytesIO(head), len(head), path)
            return
        incoming.seek(0)
        del head
        self._write_large(incoming, path)

    def _write_large(self, source: Any, path: str) -> None:
        # The storage's own refusal may come after the last piece only.
        if not overwriting.allowed() and self.size_of(path) is not None:
            raise FileExistsError(path)
        self.write_object(source, None, path)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Stores a file of the server's own: what the UI has uploaded."""
        from google_crc32c import Checksum

        file = Path(local_file)
        path = posixpath.join(artifact_path or "", file.name)
        size = file.stat().st_size
        try:
            with file.open("rb") as source:
                if size <= SMALL:
                    self.write_object(source, size, path)
                else:
                    self._write_large(source, path)
        except FileExistsError:
            checksum = Checksum()  # type: ignore[no-untyped-call]
            # Opened again: the storage's client may have closed it.
            with file.open("rb") as source:
                while block := source.read(limits.BLOCK):
                    checksum.update(block)  # type: ignore[no-untyped-call]
            self.accept_if_same(path, size, checksum.digest())  # type: ignore[no-untyped-call]

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Stores a request's body while it arrives."""
        path = posixpath.join(artifact_path or "", artifact_file_name)
        try:
            await transfer.receive(chunks, partial(self.store, path))
        except StalledError:
            raise unavailable(turns.ended(f"The upload of {artifact_file_name} sent nothing")) from None

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Stores a stream; MLflow's WSGI server would ask for it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / artifact_file_name
            with file.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
            self.log_artifact(str(file), artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        """Downloads a file for the server itself; MLflow's own would hold 100 MiB of it at a time."""
        with Path(local_path).open("wb") as file:
            self.read_object(remote_file_path, file)


def bound_other_answers() -> None:
    """Makes the answers of MLflow's WSGI part wait for the client: its bridge would hold a whole download in memory.

    The UI's downloads are such answers, and its lists of artifacts, which leave threads to the others. When the client
    goes away, the rest of its answer is not made.
    """
    import anyio
    from mlflow.server import fastapi_app

    def places(path: str) -> Turns:
        # Every path that leads to the storage has the word in it.
        if "artifact" in path:
            return FROM_STORAGE
        return IN_PIECES if path.endswith(("/runs/search", "/metrics/get-history")) else WORKERS

    class Responder(fastapi_app._EfficientWSGIResponder):
        def __init__(self, app: Any, scope: Any) -> None:
            super().__init__(app, scope)
            self.stream_send, self.stream_receive = anyio.create_memory_object_stream(transfer.AHEAD)

        async def __call__(self, receive: Any, send: Any) -> None:
            self.receive = receive
            path = self.scope["path"]
            async with places(path).turn(turns.is_health_check(self.scope)) as self.turn:
                try:
                    await super().__call__(receive, send)
                except* anyio.BrokenResourceError:
                    # What came of sending a piece to a client that has gone.
                    pass
            if self.turn.ended:
                print(f"error: {turns.ended(f'The answer to {path!r} was not read')}", file=sys.stderr, flush=True)

        async def sender(self, send: Any) -> None:
            async def send_in_time(message: Any) -> None:
                with self.turn.of_the_client():
                    await send(message)

            async with anyio.create_task_group() as group:
                self.turn.end = group.cancel_scope.cancel

                async def stop_when_the_client_goes() -> None:
                    while (await self.receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(stop_when_the_client_goes)
                await super().sender(send_in_time)
                group.cancel_scope.cancel()

    fastapi_app._EfficientWSGIResponder = Responder  # type: ignore[misc]


def shorten_the_way(app: FastAPI) -> None:
    """Takes two layers out of the application that this stack has no use for, workspaces and the LLM gateway's clock.

    Each hands every piece of every body through a task of its own, which costs an upload a quarter of its time.
    """
    app.user_middleware = [
        layer for layer in app.user_middleware if getattr(layer.kwargs.get("dispatch"), "__name__", "") not in UNUSED
    ]


class Download(Response):
    """The answer to a request for an artifact: its content, or why there is none; headers and errors are MLflow's.

    Args:
        artifact_path: The artifact, relative to the storage's address.
    """

    def __init__(self, artifact_path: str) -> None:
        super().__init__()
        self.path = artifact_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            async with transfer.DOWNLOADS.turn(turns.is_health_check(scope)) as turn:
                response = await self._response(turn)
                await response(scope, receive, send)
        except StalledError:
            what = f"The download of {posixpath.basename(self.path)!r} was not read"
            print(f"error: {turns.ended(what)}", file=sys.stderr, flush=True)
        except TimeoutError:
            print(f"error: A download was not read for {transfer.PATIENCE:g} s", file=sys.stderr, flush=True)

    async def _response(self, turn: Turn) -> Response:
        from mlflow.server import handlers
        from mlflow.server.artifact_router import _content_disposition
        from mlflow.utils.mime_type_utils import _guess_mime_type
        from mlflow.utils.uri import validate_path_is_safe

        try:
            path = validate_path_is_safe(self.path)  # type: ignore[no-untyped-call]
            repository = handlers._get_artifact_repo_mlflow_artifacts()  # type: ignore[no-untyped-call]
            content = await transfer.send(partial(repository.read_object, path))
        except FileNotFoundError:
            return _refusal(MlflowException(f"There is no artifact {self.path}", error_code=RESOURCE_DOES_NOT_EXIST))
        except MlflowException as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - whatever the storage's client says
            return _refusal(MlflowException(f"{self.path} cannot be downloaded: {' '.join(str(error).split())}"))
        name = posixpath.basename(path)
        headers = {
            "Content-Type": _guess_mime_type(name),  # type: ignore[no-untyped-call]
            "Content-Disposition": _content_disposition(name),
            "X-Content-Type-Options": "nosniff",
        }
        return Passing(turn, content, headers=headers)


class Passing(StreamingResponse):
    """An answer whose place goes to another when the client does not read it.

    Args:
        turn: The place.
        content: The answer's body.
        headers: The answer's.
    """

    def __init__(self, turn: Turn, content: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(content, headers=headers)
        self.turn = turn
        self.content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it; whatever ends it, nothing more is fetched then."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.content.aclose()  # type: ignore[attr-defined]

    async def stream_response(self, send: Send) -> None:
        """Sends status, headers and body."""

        async def send_in_time(message: Message) -> None:
            with self.turn.of_the_client():
                async with asyncio.timeout(transfer.PATIENCE):
                    await send(message)

        await super().stream_response(send_in_time)


@router.get("/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}")
@router.get("/ajax-api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}")
async def download(artifact_path: str) -> Response:
    """Answers a client's request for an artifact, in place of MLflow's route."""
    return Download(artifact_path)


def _refusal(error: MlflowException) -> Response:
    body = json.loads(error.serialize_as_json())  # type: ignore[no-untyped-call]
    return JSONResponse(body, status_code=error.get_http_status_code())  # type: ignore[no-untyped-call]
