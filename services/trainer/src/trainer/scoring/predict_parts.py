"""Scores a table's files into a folder, a part file each: here one after the other, or side by side on a cluster."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from trainer.data.buckets import Place
from trainer.data.file_errors import reading
from trainer.data.row_chunks.opening import check_source, open_source
from trainer.data.table_files import file_digest
from trainer.data.table_reader import no_rows
from trainer.parallel.engine import Engine
from trainer.parallel.pool import TaskDiedError, TaskResult
from trainer.scoring import locate
from trainer.scoring.loaded_model import LoadedModel, load_model
from trainer.scoring.part_files import PartFolder, check_folder, part_names
from trainer.scoring.part_tasks import PartResult, PartsWork, PartTask, score_part, score_part_remotely
from trainer.scoring.predict import PredictRequest, PredictResult, read_columns
from trainer.scoring.progress import progress
from trainer.util import provenance
from trainer.util.errors import TrainerError
from trainer.util.output import print_message

#: So many warnings on parts are shown; those on further parts are counted.
_SHOWN = 3
_Outcome = TaskResult[PartTask, PartResult]


def predict_parts(request: PredictRequest, open_engine: Callable[[], Engine] | None = None) -> PredictResult:
    """Score each file of a table into a part file in the folder ``request.out``; return the sum of all.

    A part that an earlier command made of the same file, by the same model and options, stays.

    Args:
        request: What to score, with what, and the folder to write to.
        open_engine: Returns what scores files side by side, once all that was given is checked; None for this process.

    Raises:
        InputError: A file, the model or the folder is of no use; the message says which.
        TrainerError: The model, the disk or the cluster fails. Parts that are whole stay.
    """
    start = time.perf_counter()
    files = check_source(request.data)
    parts = part_names(files)
    check_folder(request.out, parts)
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        path = locate.local_files(request.model, Path(folder), uri=request.tracking_uri, wait=request.wait)
        loaded = load_model(path, request.model)
        model = {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    # What is wrong with the parts beside each other is said before any is scored.
    source = open_source(request.data, loaded.form.with_given(request.csv))
    columns = read_columns(request, loaded, source)
    source.check_copied(columns.copied)
    jobs = request.jobs if open_engine is None else 1
    work = PartsWork(replace(request, jobs=jobs, tracking_uri=None), columns, model)
    with PartFolder(request.out, _made_by(work)) as out:
        done: dict[int, PredictResult | None] = {}
        tasks = _new(parts, out, done)
        outcomes = _here(tasks, work, out, loaded) if open_engine is None else _there(tasks, work, out, open_engine())
        sizes = [file.stat().st_size for file in files.files]
        scored = 0
        with progress(request.data.name) as show, closing(outcomes):
            for outcome in outcomes:
                part = _answer(outcome)
                out.keep(outcome.item, part)
                done[outcome.item.index] = part.result
                scored += 1
                if part.result is None:
                    print_message(f"{outcome.item.place}: has no rows, and gets no part")
                rows = sum(one.rows for one in done.values() if one is not None)
                show(rows, sum(sizes[index] for index in done) / max(sum(sizes), 1))
    if scored < len(done):
        print_message(f"{len(done) - scored:,} of {len(parts):,} files were scored before: their parts stay")
    results = [result for _, result in sorted(done.items()) if result is not None]
    if not results:
        raise no_rows(request.data, source.form)
    _show_warnings(request, results)
    return _sum(request, results, time.perf_counter() - start)


def _new(parts: Mapping[str, Place], out: PartFolder, done: dict[int, PredictResult | None]) -> Iterator[PartTask]:
    """Open the part of each file that has to be scored, and yield its task; ``done`` takes the others' results."""
    for index, (name, place) in enumerate(parts.items()):
        with reading(place):
            task = PartTask(index, place, file_digest(place), name)
        finished = out.finished(task)
        if finished is None:
            yield out.begin(task)
        else:
            done[index] = finished


def _here(
    tasks: Iterator[PartTask], work: PartsWork, out: PartFolder, loaded: LoadedModel
) -> Generator[_Outcome, None, None]:
    for task in tasks:
        yield TaskResult(task.index, task, score_part(task, work, loaded, out.take))


def _there(
    tasks: Iterator[PartTask], work: PartsWork, out: PartFolder, engine: Engine
) -> Generator[_Outcome, None, None]:
    return engine.map(score_part_remotely, tasks, work, again=out.begin_again, answer=out.take)


def _answer(outcome: _Outcome) -> PartResult:
    if isinstance(outcome.error, TaskDiedError):
        raise TrainerError(f"{outcome.item.place}: {outcome.error}")
    if outcome.error is not None:
        raise outcome.error
    assert outcome.answer is not None  # noqa: S101 - there is one where there is no error
    return outcome.answer


def _made_by(work: PartsWork) -> str:
    """Return a digest of all that a part depends on beside its file."""
    request = replace(work.request, model="", data=Path(), out=Path(), jobs=1, wait=0)
    model = {name: hashlib.sha256(content).hexdigest() for name, content in work.model.items()}
    return hashlib.sha256(repr((provenance.source_digest(), request, work.columns, model)).encode()).hexdigest()


def _show_warnings(request: PredictRequest, results: list[PredictResult]) -> None:
    found = [f"{result.out.name}: {warning}" for result in results for warning in result.warnings]
    for warning in found[:_SHOWN]:
        print_message(warning)
    if len(found) > _SHOWN:
        print_message(f"{request.data}: {len(found) - _SHOWN:,} more such lines on its files are left out")


def _sum(request: PredictRequest, results: list[PredictResult], seconds: float) -> PredictResult:
    first = results[0]
    positives = None if first.positives is None else sum(result.positives or 0 for result in results)
    return replace(
        first,
        out=request.out,
        rows=sum(result.rows for result in results),
        columns=tuple(first.columns),
        positives=positives,
        seconds=seconds,
        scorer=", ".join(sorted({result.scorer for result in results})),
        warnings=(),
    )
