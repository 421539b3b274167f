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
import threading
from abc import abstractmethod
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact.artifact_repo import StreamUploadMixin

from app import transfer

# Up to this size an artifact is one request to the storage; a larger one goes in pieces.
SMALL = 8 * 2**20
# How many of more than a block are taken in and sent to the storage at a time: each holds a piece or two in memory.
LARGE_AT_A_TIME = threading.Semaphore(4)
# How many answers of MLflow's WSGI part may wait for the storage at a time. That part has 40 threads for everything: a
# storage that hangs, or slow downloads in the UI, would hold them all, and runs could be neither tracked nor looked at.
FROM_STORAGE = asyncio.Semaphore(16)
# The same for answers that go to the client in pieces (searches.py), and wait for one that is slow.
IN_PIECES = asyncio.Semaphore(16)
# MLflow's functions around each request that this stack has no use for.
UNUSED = ("workspace_context_middleware", "gateway_timing_middleware")

router = APIRouter()


def unavailable(said: str) -> MlflowException:
    """Returns the answer to a request that a later attempt may get through, after logging it.

    MLflow's client tries again at its status, 503, and does not show its message.
    """
    print(f"error: {said}", file=sys.stderr, flush=True)
    return MlflowException(said, error_code=TEMPORARILY_UNAVAILABLE)


class StreamedRepository(StreamUploadMixin):
    """What a storage's repository adds to MLflow's own; `path` is relative to the repository's address."""

    @abstractmethod
    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds: so many bytes, or too many to be one request (None)."""

    @abstractmethod
    def read_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`; raises FileNotFoundError when there is none."""

    def store(self, path: str, incoming: transfer.Incoming) -> None:
        """Stores a request's body."""
        head = incoming.read(transfer.BLOCK)
        more = len(head) == transfer.BLOCK
        with LARGE_AT_A_TIME if more else nullcontext():
            if more:
                incoming.seek(0)
                head = incoming.read(SMALL + 1)
            if len(head) <= SMALL:
                self.write_object(io.BytesIO(head), len(head), path)
                return
            incoming.seek(0)
            del head
            self.write_object(incoming, None, path)

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Stores a request's body while it arrives."""
        path = posixpath.join(artifact_path or "", artifact_file_name)
        await transfer.receive(chunks, partial(self.store, path))

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Stores a stream; MLflow's WSGI server would ask for it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / artifact_file_name
            with file.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
            self.log_artifact(str(file), artifact_path)  # type: ignore[attr-defined]

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

    def turn(path: str) -> AbstractAsyncContextManager[Any]:
        # Every path that leads to the storage has the word in it.
        if "artifact" in path:
            return FROM_STORAGE
        return IN_PIECES if path.endswith(("/runs/search", "/metrics/get-history")) else nullcontext()

    class Responder(fastapi_app._EfficientWSGIResponder):
        def __init__(self, app: Any, scope: Any) -> None:
            super().__init__(app, scope)
            self.stream_send, self.stream_receive = anyio.create_memory_object_stream(transfer.AHEAD)

        async def __call__(self, receive: Any, send: Any) -> None:
            self.receive = receive
            async with turn(self.scope["path"]):
                try:
                    await super().__call__(receive, send)
                except* anyio.BrokenResourceError:
                    # What came of sending a piece to a client that has gone.
                    pass

        async def sender(self, send: Any) -> None:
            async with anyio.create_task_group() as group:

                async def stop_when_the_client_goes() -> None:
                    while (await self.receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(stop_when_the_client_goes)
                await super().sender(send)
                group.cancel_scope.cancel()

    fastapi_app._EfficientWSGIResponder = Responder  # type: ignore[misc]


def shorten_the_way(app: FastAPI) -> None:
    """Takes two layers out of the application that this stack has no use for, workspaces and the LLM gateway's clock.

    Each hands every piece of every body through a task of its own, which costs an upload a quarter of its time.
    """
    app.user_middleware = [
        layer for layer in app.user_middleware if getattr(layer.kwargs.get("dispatch"), "__name__", "") not in UNUSED
    ]


@router.get("/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}")
@router.get("/ajax-api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}")
async def download(artifact_path: str) -> Response:
    """Answers a client's request for an artifact, in place of MLflow's route; headers and errors are the same."""
    from mlflow.server import handlers
    from mlflow.server.artifact_router import _content_disposition
    from mlflow.utils.mime_type_utils import _guess_mime_type
    from mlflow.utils.uri import validate_path_is_safe

    try:
        path = validate_path_is_safe(artifact_path)  # type: ignore[no-untyped-call]
        repository = handlers._get_artifact_repo_mlflow_artifacts()  # type: ignore[no-untyped-call]
        content = await transfer.send(partial(repository.read_object, path))
    except FileNotFoundError:
        return _refusal(MlflowException(f"There is no artifact {artifact_path}", error_code=RESOURCE_DOES_NOT_EXIST))
    except MlflowException as error:
        return _refusal(error)
    except Exception as error:  # noqa: BLE001 - whatever the storage's client says
        return _refusal(MlflowException(f"{artifact_path} cannot be downloaded: {' '.join(str(error).split())}"))
    name = posixpath.basename(path)
    headers = {
        "Content-Type": _guess_mime_type(name),  # type: ignore[no-untyped-call]
        "Content-Disposition": _content_disposition(name),
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content, headers=headers)


def _refusal(error: MlflowException) -> Response:
    body = json.loads(error.serialize_as_json())  # type: ignore[no-untyped-call]
    return JSONResponse(body, status_code=error.get_http_status_code())  # type: ignore[no-untyped-call]
