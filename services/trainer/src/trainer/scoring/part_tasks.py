"""One file of a table scored into a part file: the task of a cluster's worker, which sends the part in pieces."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from trainer.data.buckets import Place
from trainer.data.file_errors import reading
from trainer.data.row_chunks.opening import open_source
from trainer.data.table_files import file_digest
from trainer.scoring.loaded_model import LoadedModel, load_model
from trainer.scoring.predict import NoRowsError, PredictRequest, PredictResult, ReadColumns, write_scores
from trainer.util.errors import InputError

#: Bytes of a piece: the scheduler, which passes them on, holds one for each worker.
PIECE = 1 << 20


@dataclass(frozen=True)
class PartTask:
    """A file to score. ``digest`` is its SHA-256, None in a bucket; ``name`` that of the part file."""

    index: int
    place: Place
    digest: str | None
    name: str
    attempt: int = 1

    def again(self) -> PartTask:
        """Return the task for another attempt."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True)
class PartsWork:
    """What the tasks of one command share; ``model`` holds the contents of the model's files, by their paths."""

    request: PredictRequest
    columns: ReadColumns
    model: Mapping[str, bytes]


@dataclass(frozen=True)
class Piece:
    """The next bytes of a part file."""

    index: int
    attempt: int
    content: bytes


@dataclass(frozen=True)
class PartResult:
    """What came of a part: ``size`` bytes, and the result; None of a file without rows, which gets no part."""

    size: int
    result: PredictResult | None


class PieceStream(io.RawIOBase):
    """A stream that sends what is written to it in pieces."""

    def __init__(self, task: PartTask, send: Callable[[Piece], Any]) -> None:
        self._task, self._send, self._waiting = task, send, bytearray()
        self.size = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: Any, /) -> int:
        """Take bytes, and send the pieces that are full."""
        self._waiting += content
        while len(self._waiting) >= PIECE:
            self._send_piece()
        return memoryview(content).nbytes

    def finish(self) -> None:
        """Send what is left."""
        if self._waiting:
            self._send_piece()

    def _send_piece(self) -> None:
        content = bytes(self._waiting[:PIECE])
        del self._waiting[:PIECE]
        self.size += len(content)
        self._send(Piece(self._task.index, self._task.attempt, content))


def score_part(
    task: PartTask,
    work: PartsWork,
    loaded: LoadedModel,
    send: Callable[[Piece], Any],
    show: Callable[[int], None] = lambda _rows: None,
) -> PartResult:
    """Score one file.

    Args:
        task: The file.
        work: What all files share.
        loaded: The model.
        send: Takes the part file's pieces, in their order.
        show: Called with the rows that have been scored so far.

    Raises:
        InputError: The file is of no use.
        TrainerError: The model fails, or the part cannot be written.
    """
    request = replace(work.request, data=task.place, out=Path(task.name))
    source = open_source(task.place, loaded.form.with_given(request.csv))
    stream = PieceStream(task, send)
    try:
        done = write_scores(request, loaded, source, work.columns, cast("BinaryIO", stream), show)
    except NoRowsError:
        return PartResult(0, None)
    stream.finish()
    return PartResult(stream.size, done)


def score_part_remotely(task: PartTask, work: PartsWork) -> PartResult:
    """Score one file in a worker of a cluster; the process that started the task writes the part.

    Raises:
        InputError: The worker has another file of this name, or none, or it is of no use.
        TrainerError: The model fails, or the part cannot be written.
    """
    from trainer.parallel.cluster.remote_task import PROCESS, worker_name

    try:
        with reading(task.place):
            found = file_digest(task.place)
    except InputError as error:
        raise InputError(f"worker {worker_name()}: {error}") from None
    if found != task.digest:
        raise InputError(f"worker {worker_name()}: {task.place}: is another file there than here; copy this one there")
    return score_part(task, work, _loaded(work), PROCESS.ask_client)


#: The work whose model this worker has loaded: it is the same object as long as the worker keeps its parcel.
_last: list[tuple[PartsWork, LoadedModel]] = []


def _loaded(work: PartsWork) -> LoadedModel:
    if not _last or _last[0][0] is not work:
        with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
            for name, content in work.model.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            _last[:] = [(work, load_model(Path(folder), work.request.model))]
    return _last[0][1]
