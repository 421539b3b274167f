"""Scores a file with a logged model: reads, scores and writes chunk after chunk, several at once, in their order."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from trainer.data.arrow_columns import Feature
from trainer.data.buckets import BucketPath, Place
from trainer.data.row_chunks.opening import check_source, open_source
from trainer.data.row_chunks.source import TableSource
from trainer.data.table_reader import is_index_name, no_rows
from trainer.scoring import locate
from trainer.scoring.chunks import Chunks, ScoredTable
from trainer.scoring.loaded_model import LoadedModel, load_model, missing_columns
from trainer.scoring.progress import progress
from trainer.scoring.scorers import OriginalLabels, Scorer
from trainer.scoring.sinks import check_name, open_sink
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
    #: On what was scored.
    warnings: tuple[str, ...] = ()


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
    """Score a file with a model that is loaded already; see ``predict_file``."""
    with atomic_file(request.out, "--out") as stream:
        return _write(request, loaded, stream)


def _write(request: PredictRequest, loaded: LoadedModel, stream: BinaryIO) -> PredictResult:
    source = open_source(request.data, loaded.form.with_given(request.csv))
    columns = read_columns(request, loaded, source)
    with progress(request.data.name) as show:
        done = write_scores(request, loaded, source, columns, stream, lambda rows: show(rows, source.share(rows)))
    for warning in done.warnings:
        print_message(warning)
    return done


@dataclass(frozen=True)
class ReadColumns:
    """The columns of a table that the model takes, and those that are copied into the result."""

    features: tuple[Feature, ...]
    copied: tuple[str, ...]


def read_columns(request: PredictRequest, loaded: LoadedModel, source: TableSource) -> ReadColumns:
    """Return the columns to read of a table, and say which are of no use.

    Raises:
        InputError: Some are missing.
    """
    _check_copied(request, source)
    features = _features(loaded, source, request)
    copied = tuple(source.names) if request.keep else request.ids
    _note_unused(source, features, copied)
    return ReadColumns(features, copied)


class NoRowsError(InputError):
    """The table has no rows."""


def write_scores(
    request: PredictRequest,
    loaded: LoadedModel,
    source: TableSource,
    columns: ReadColumns,
    stream: BinaryIO,
    show: Callable[[int], None],
) -> PredictResult:
    """Score a table, and write the result to a stream.

    Args:
        request: What to score, and the name of what to write, which says how.
        loaded: The model.
        source: The table.
        columns: Which columns of it are read.
        stream: Takes the result.
        show: Called with the rows that have been scored so far.

    Raises:
        NoRowsError: The table has none.
        InputError: It is of no use.
        TrainerError: The model or the disk fails.
    """
    start = time.perf_counter()
    features, copied = columns.features, columns.copied
    read = [feature for feature in features if feature.type != "unknown"]
    with closing(source.chunks(read, copied)) as chunks:
        first = next(chunks, None)
        if first is None:
            raise NoRowsError(str(no_rows(request.data, source.form)))
        table = ScoredTable(source, features, copied)
        values = table.convert(first, 0)
        scorer = loaded.scorer(features, values, first.num_rows, request.jobs)
        if request.original_labels:
            scorer = _with_labels(scorer, loaded, request)
        scored = table.score(scorer, values, first)
        try:
            sink = open_sink(request.out, stream, scored.schema)
            rows = positives = 0
            for prepared, count, called in Chunks(table, scorer, sink, scored.schema).results(
                scored, chunks, request.jobs
            ):
                sink.write(prepared)
                rows += count
                positives += called
                show(rows)
            sink.close()
        except OSError as error:
            # What reading raises is an InputError by now: this is the disk that is written to.
            raise TrainerError(f"{request.out}: cannot be written: {error.strerror or one_line(error)}") from error
    return PredictResult(
        request.out,
        rows,
        (*copied, *scorer.outputs),
        scorer.positive,
        positives if scorer.positive is not None else None,
        scorer.threshold,
        time.perf_counter() - start,
        scorer.way,
        tuple(scorer.warnings()),
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
        missing_columns(loaded.features, source.names, str(source.path), source.form)
        return tuple(feature for feature in loaded.features if feature.name in source.names)
    names = loaded.names
    if names is None:
        names = tuple(name for name in source.names if name not in request.ids)
    missing_columns([Feature(name, "number") for name in names], source.names, str(source.path), source.form)
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
