"""Scores a file with a logged model: reads, scores and writes chunk after chunk, several at once, in their order."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from trainer.data.arrow_columns import ARROW, Feature, convert
from trainer.data.buckets import BucketPath, Place
from trainer.data.row_chunks.opening import check_source, open_source
from trainer.data.row_chunks.source import TableSource
from trainer.data.table_file import is_index_name, no_rows
from trainer.scoring import locate, models
from trainer.scoring.models import LoadedModel, load_model
from trainer.scoring.progress import progress
from trainer.scoring.scorers import OriginalLabels, Scorer
from trainer.scoring.sinks import Sink, check_name, open_sink
from trainer.util.atomic import atomic_file
from trainer.util.errors import InputError, TrainerError
from trainer.util.output import print_message
from trainer.util.text import did_you_mean, listed, one_line


@dataclass(frozen=True)
class PredictRequest:
    """What to score, with what, and what to write.

    ``ids`` are columns to copy into the result; ``keep`` copies all of them. ``jobs`` chunks are scored at a time.
    ``csv`` are the fields of ``CsvForm`` in which the file is unlike those that the model was trained on.
    """

    model: str
    data: Place
    out: Path
    ids: tuple[str, ...] = ()
    keep: bool = False
    jobs: int = 1
    tracking_uri: str | None = None
    wait: float = 30.0
    csv: Mapping[str, Any] = field(default_factory=dict)
    #: Whether two classes are called as the target column had them, and not 0 and 1.
    original_labels: bool = False


@dataclass(frozen=True)
class PredictResult:
    """What came of it. ``positives`` counts ``positive``, the second of two classes; None where there are no two."""

    out: Path
    rows: int
    columns: tuple[str, ...]
    positive: Any
    positives: int | None
    threshold: float | None
    seconds: float
    #: What scored the rows: "trees", which is the fast way, or the interface that a model of others has.
    scorer: str


def predict_file(request: PredictRequest) -> PredictResult:
    """Score a file.

    Raises:
        InputError: The file, the model or the output's name is of no use; the message says which value or column.
        TrainerError: The model or the disk fails. Either way no output is written, and an older one stays.
    """
    check_name(request.out)
    files = check_source(request.data).files
    # Before the model is loaded, which may take longer: a folder that is not there is better said at once.
    with atomic_file(request.out, "--out") as stream:
        if request.out.exists() and any(
            not isinstance(file, BucketPath) and request.out.samefile(file) for file in files
        ):
            raise InputError(f"{request.out}: is the data itself; write to another file (--out)")
        with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
            model = locate.local_files(request.model, Path(folder), uri=request.tracking_uri, wait=request.wait)
            loaded = load_model(model, request.model)
        return _write(request, loaded, stream)


def predict_with(request: PredictRequest, loaded: LoadedModel) -> PredictResult:
    """Score a file with a model that is loaded already; see ``run``."""
    with atomic_file(request.out, "--out") as stream:
        return _write(request, loaded, stream)


def _write(request: PredictRequest, loaded: LoadedModel, stream: BinaryIO) -> PredictResult:
    start = time.perf_counter()
    source = open_source(request.data, loaded.form.with_given(request.csv))
    _check_copied(request, source)
    features = _features(loaded, source, request)
    copied = source.names if request.keep else list(request.ids)
    _note_unused(source, features, copied)
    read = [feature for feature in features if feature.type != "unknown"]
    with progress(request.data.name) as show, closing(source.chunks(read, copied)) as chunks:
        first = next(chunks, None)
        if first is None:
            raise no_rows(request.data, source.form)
        table = _Table(source, features, copied)
        columns = table.convert(first, 0)
        scorer = loaded.scorer(features, columns, first.num_rows, request.jobs)
        if request.original_labels:
            scorer = _with_labels(scorer, loaded, request)
        scored = table.score(scorer, columns, first)
        try:
            sink = open_sink(request.out, stream, scored.schema)
            worker = _Worker(table, scorer, sink, scored.schema)
            rows = positives = 0
            for prepared, count, called in worker.results(scored, chunks, request.jobs):
                sink.write(prepared)
                rows += count
                positives += called
                show(rows, source.share(rows))
            sink.close()
        except OSError as error:
            # What reading raises is an InputError by now: this is the disk that is written to.
            raise TrainerError(f"{request.out}: cannot be written: {error.strerror or one_line(error)}") from error
    for warning in scorer.warnings():
        print_message(warning)
    return PredictResult(
        request.out,
        rows,
        (*copied, *scorer.outputs),
        scorer.positive,
        positives if scorer.positive is not None else None,
        scorer.threshold,
        time.perf_counter() - start,
        scorer.way,
    )


def _with_labels(scorer: Scorer, loaded: LoadedModel, request: PredictRequest) -> Scorer:
    """Return a scorer whose classes are called as the target column had them; those of several classes are."""
    if loaded.labels:
        return OriginalLabels(scorer, loaded.labels)
    if not loaded.own or scorer.positive is not None:
        raise InputError(f"{request.model}: does not note what its target column had (--original-labels)")
    return scorer


def _check_copied(request: PredictRequest, source: TableSource) -> None:
    for name in request.ids:
        if name not in source.names:
            hint = did_you_mean(name, source.names, f"its columns are {listed(source.names)}")
            raise InputError(f"{source.path}: has no column {name!r} (--id); {hint}")
    if request.keep and source.names.count("") > 1:
        raise InputError(f"{source.path}: several of its columns have no name; name them (--keep)")
    if len(set(request.ids)) < len(request.ids):
        raise InputError("--id names a column twice")


def _features(loaded: LoadedModel, source: TableSource, request: PredictRequest) -> tuple[Feature, ...]:
    """Return the columns to read for the model; where it does not know their types, the whole file decides."""
    if loaded.features is not None:
        models.missing_columns(loaded.features, source.names, str(source.path), source.form)
        return tuple(feature for feature in loaded.features if feature.name in source.names)
    names = loaded.names
    if names is None:
        names = tuple(name for name in source.names if name not in request.ids)
    models.missing_columns([Feature(name, "number") for name in names], source.names, str(source.path), source.form)
    print_message("the model does not say which types its columns have: they are judged by all rows of the file first")
    types = source.types(names)
    return tuple(Feature(name, types[name]) for name in names)


def _note_unused(source: TableSource, features: Sequence[Feature], copied: Sequence[str]) -> None:
    unknown = [feature.name for feature in features if feature.type == "unknown"]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        print_message(f"no training row had a value in column{plural} {listed(unknown)}: the model makes no use of it")
    used = {feature.name for feature in features}.union(copied)
    unused = [name for name in source.names if name not in used and not is_index_name(name)]
    if unused:
        plural = "s" if len(unused) > 1 else ""
        print_message(f"the model does not use column{plural} {listed(unused)} (--id NAME copies one, --keep all)")


def _check_clash(source: TableSource, copied: Sequence[str], outputs: Sequence[str]) -> None:
    if clash := [name for name in outputs if name in copied]:
        raise InputError(
            f"{source.path}: its column {clash[0]!r} would stand beside the model's own of that name;"
            " rename it, or copy other columns only (--id instead of --keep)"
        )


@dataclass(frozen=True)
class _Table:
    """The table that is scored: its features, and the columns that are copied."""

    source: TableSource
    features: Sequence[Feature]
    copied: Sequence[str]

    def convert(self, chunk: pa.RecordBatch, row: int) -> dict[str, pa.Array]:
        """Return a chunk's features in their types; ``row`` rows come before it."""
        path, row = self.source.place(row)
        from_text, form = self.source.from_text, self.source.form
        # Whatever an unknown column holds, it is not looked at.
        none = pa.nulls(chunk.num_rows, ARROW["unknown"])
        return {
            feature.name: none
            if feature.type == "unknown"
            else convert(chunk.column(feature.name), feature, row, str(path), from_text=from_text, form=form)
            for feature in self.features
        }

    def score(self, scorer: Scorer, columns: dict[str, pa.Array], chunk: pa.RecordBatch) -> pa.RecordBatch:
        """Return the copied columns of a chunk and the scorer's beside them."""
        try:
            scores = scorer.score(columns, chunk.num_rows)
        except TrainerError:
            raise
        except Exception as error:
            # Whatever a model's own code raises is the model's failure, not an unexpected one of ours.
            raise TrainerError(f"the model fails: {type(error).__name__}: {one_line(error, 300)}") from error
        _check_clash(self.source, self.copied, scorer.outputs)
        copied = [chunk.column(name) for name in self.copied]
        return pa.RecordBatch.from_arrays([*copied, *scores], [*self.copied, *scorer.outputs])


#: A chunk as the sink takes it, its rows, and how many of them are positive.
_Result = tuple[Any, int, int]


@dataclass(frozen=True)
class _Worker:
    """Turns chunks into what the sink writes."""

    table: _Table
    scorer: Scorer
    sink: Sink
    schema: pa.Schema

    def results(self, first: pa.RecordBatch, chunks: Iterator[pa.RecordBatch], jobs: int) -> Iterator[_Result]:
        """Yield the scored chunks in their order; with several jobs, some are scored ahead of what is written."""
        yield self._prepare(first)
        row = first.num_rows
        # Only our own scorer is known to be safe in several threads; a model's own code need not be.
        if jobs == 1 or not self.scorer.parallel:
            for chunk in chunks:
                yield self._work(chunk, row)
                row += chunk.num_rows
            return
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="score")
        pending: deque[Future[_Result]] = deque()
        try:
            for chunk in chunks:
                pending.append(pool.submit(self._work, chunk, row))
                row += chunk.num_rows
                # Bounds what is in memory: one chunk a thread, and one that waits.
                if len(pending) > jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _work(self, chunk: pa.RecordBatch, row: int) -> _Result:
        scored = self.table.score(self.scorer, self.table.convert(chunk, row), chunk)
        if scored.schema != self.schema:
            raise TrainerError(
                f"the model returns other columns from row {row + 1:,} on than before:"
                f" {one_line(scored.schema, 100)}, not {one_line(self.schema, 100)}"
            )
        return self._prepare(scored)

    def _prepare(self, scored: pa.RecordBatch) -> _Result:
        called = 0
        if (positive := self.scorer.positive) is not None:
            called = int(pc.sum(pc.equal(scored.column(scored.num_columns - 1), positive)).as_py() or 0)
        return self.sink.prepare(scored), scored.num_rows, called
