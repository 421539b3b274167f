"""The chunks of a table on their way from the file to the sink: converted, scored and prepared, several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trainer.data.arrow_columns import ARROW, Feature, convert
from trainer.data.row_chunks.source import TableSource
from trainer.scoring.scorers import Scorer
from trainer.scoring.sinks import Sink
from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line


def _check_clash(source: TableSource, copied: Sequence[str], outputs: Sequence[str]) -> None:
    if clash := [name for name in outputs if name in copied]:
        raise InputError(
            f"{source.path}: its column {clash[0]!r} would stand beside the model's own of that name;"
            " rename it, or copy other columns only (--id instead of --keep)"
        )


@dataclass(frozen=True)
class ScoredTable:
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
class Chunks:
    """Turns chunks into what the sink writes."""

    table: ScoredTable
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
