"""Fits one model over the workers of a cluster, and starts again on the others when one is lost.

LightGBM's own Dask interface is not used: its issues report hangs when a worker is lost, when parts stop early by rows
of their own, and when two fits run at once. Here each worker's task starts LightGBM in a process that it watches, with
the same validation rows on all; the scheduler gives all workers to one fit at a time.
"""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from trainer.parallel.cluster.credentials import ClusterError
from trainer.parallel.cluster.joint_fit import Here, Place, fit_part
from trainer.parallel.cluster.parcels import Parcel
from trainer.parallel.pool import TaskDiedError
from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from trainer.data.dataset import Table
    from trainer.parallel.cluster.remote_pool import ClusterPool
    from trainer.training.data_parallel_work import Prepared
    from trainer.training.encoding import Encoding
    from trainer.training.fit_work import FitWork
    from trainer.training.pipeline import Callbacks, FittedPipeline

#: A fit is started so many times.
ATTEMPTS = 3
#: How often to ask for the turn, in seconds.
_ASK = 1.0
#: What LightGBM says when another process of the fit is gone.
_NETWORK = re.compile(r"socket|binding port|connect|linkers|network", re.IGNORECASE)


class _LostError(TrainerError):
    """A worker is gone: the fit starts again."""


class DistributedFit:
    """What fits pipelines over the workers of a cluster.

    Args:
        pool: The workers.
        tell: Called with a line where the fit waits, or starts again.
    """

    def __init__(self, pool: ClusterPool, tell: Callable[[str], None]) -> None:
        self._pool, self._tell = pool, tell

    def fit_pipeline(
        self, work: FitWork, encoding: Encoding, validation: Table | None, callbacks: Callbacks = (), threads: int = 1
    ) -> FittedPipeline:
        """Do what ``training.pipeline.fit_pipeline`` does; callbacks are none, and a worker has one thread.

        Raises:
            TrainerError: LightGBM refuses, or workers were lost again and again.
            ClusterError: The scheduler or the last worker is gone, or the rows are more than the scheduler takes.
        """
        from trainer.training import data_parallel_work

        assert work.other is None and not callbacks and threads == 1  # noqa: S101, PT018 - the command line sees to it
        prepared = data_parallel_work.prepare(work, encoding, validation)
        with self._turn():
            for attempt in range(1, ATTEMPTS + 1):
                workers = self._pool.look()
                if not workers:
                    raise ClusterError(f"{self._pool.address}: no worker is left for the fit")
                parts = prepared.most(workers)
                if parts < workers and attempt == 1:
                    least = f"at least {data_parallel_work.LEAST:,} of the {prepared.fitting.rows:,} rows to fit to"
                    self._tell(f"{parts} of {workers} workers fit: a part has {least}")
                try:
                    fitted = self._attempt(prepared, parts)
                except _LostError as lost:
                    if attempt == ATTEMPTS:
                        raise TrainerError(f"the fit was started {ATTEMPTS} times, and each time: {lost}") from lost
                    self._tell(f"{lost}: the fit starts again on the workers that are left")
                else:
                    return data_parallel_work.finished(prepared, fitted)
        raise AssertionError

    @contextmanager
    def _turn(self) -> Iterator[None]:
        told = False
        try:
            while not self._pool.scheduler.take_turn():
                if not told:
                    self._tell("another fit has the cluster's workers: this one waits for its end")
                told = True
                time.sleep(_ASK)
            yield
        finally:
            self._pool.scheduler.end_turn()

    def _attempt(self, prepared: Prepared, workers: int) -> FittedPipeline:
        work, parts = prepared.cut(workers)
        parcels = [Parcel([pickle.dumps(one, protocol=pickle.HIGHEST_PROTOCOL)]) for one in (work, *parts)]
        digests = [parcel.digest for parcel in parcels]
        self._check_room(sum(parcel.size for parcel in parcels))
        self._pool.scheduler.send(parcels)
        del work, parts, parcels
        places = [Place(number, part, digests[0]) for number, part in enumerate(digests[1:])]
        came: dict[int, str] = {}

        def answer(here: Here) -> str | None:
            if self._pool.jobs < workers:
                raise _LostError("a worker left before the fit began")
            came[here.number] = here.address
            return ",".join(came[number] for number in range(workers)) if len(came) == workers else None

        answers: list[Any] = []
        with closing(self._pool.map(fit_part, places, answer=answer)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise _of(outcome.error)
                answers.append(outcome.answer)
        if len({digest for digest, _ in answers}) > 1:
            raise TrainerError("the workers have made different models of the same fit")
        model: FittedPipeline = next(fitted for _, fitted in answers if fitted is not None)
        return model

    def _check_room(self, size: int) -> None:
        room = self._pool.scheduler.room()
        if size > room:
            raise ClusterError(
                f"{self._pool.address}: {size >> 20:,} MiB of rows are more than the scheduler keeps,"
                f" {room >> 20:,} MiB (SCHEDULER_TABLES, in bytes); or put the files where all workers read them, and"
                " give --stream always"
            )


def _of(error: BaseException) -> BaseException:
    """Return what a task's error means for the fit: that it starts again, or that it ends."""
    # Of files, whose names may say anything.
    if isinstance(error, InputError):
        return error
    if isinstance(error, TaskDiedError | _LostError) or _NETWORK.search(str(error)):
        return _LostError(one_line(error))
    return error
