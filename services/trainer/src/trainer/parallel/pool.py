"""Runs independent tasks side by side, one process each: the engine for one machine (see ``engine``).

A task is a function of this package's modules, called with an item and with what all tasks share; both must be
picklable. A task that fails, or whose process dies, does not disturb the others.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trainer.util.errors import TrainerError
from trainer.util.signals import defer_signals, ignore_signals, interrupt, send_again

if TYPE_CHECKING:
    from trainer.parallel.progress import Step

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: How long the tasks may take to end their runs after an interrupt, in seconds.
GRACE = 20.0


class TaskDiedError(TrainerError):
    """A task's process ended without an answer: out of memory, most likely."""


@dataclass(frozen=True)
class TaskResult(Generic[Item, Answer]):
    """What came of one item: an answer, or an error."""

    index: int
    item: Item
    answer: Answer | None = None
    error: BaseException | None = None


class ProcessPool:
    """A number of processes side by side, forked from a server that did the imports; each takes task after task.

    What libraries look up at their first use is then looked up once a process. One in which a task failed is replaced.
    """

    remote = False
    idle = True

    def __init__(self, jobs: int, preload: Sequence[str] = ()) -> None:
        self.jobs = jobs
        self._preload = list(preload)
        self._context: BaseContext | None = None

    @property
    def warm(self) -> bool:
        """Whether its processes are forked, with all imports done."""
        # On macOS a forked process crashes when it asks the system for its proxies, as every HTTP client does.
        return "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"

    def warm_up(self) -> None:
        """Begin the imports in the background, while the caller does something else."""
        self._processes()

    def map(
        self,
        task: Callable[[Item, Any], Answer],
        items: Iterable[Item],
        shared: Any = None,
        *,
        again: Callable[[Item, str], Item] | None = None,  # noqa: ARG002
        show: Callable[[Step], None] | None = None,  # noqa: ARG002
        answer: Callable[[Any], Any] | None = None,  # noqa: ARG002
    ) -> Generator[TaskResult[Item, Answer]]:
        """Call ``task(item, shared)`` for each item and yield the outcomes as they come.

        Whoever stops before the last outcome closes the generator, which ends the tasks.

        Args:
            task: A module-level function.
            items: The items, started in this order. Each is drawn when a process is free for it and not before: an
                iterator may depend on earlier outcomes.
            shared: What all tasks need; serialised once, however many there are.
            again: Not used: a process that died on this machine would die again.
            show: Not used: the processes reach the display themselves.
            answer: Not used: the processes reach this machine's files themselves.

        Raises:
            KeyboardInterrupt: After Ctrl-C or a termination signal, when all tasks have ended.
        """
        context = self._processes()
        strangers = set(multiprocessing.active_children())
        with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
            path = Path(folder) / "shared.pickle"
            path.write_bytes(pickle.dumps(shared, protocol=pickle.HIGHEST_PROTOCOL))
            running: dict[Future[Answer], tuple[int, Item, ProcessPoolExecutor]] = {}
            idle: list[ProcessPoolExecutor] = []
            waiting = enumerate(items)
            more = True
            try:
                while True:
                    while more and len(running) < self.jobs:
                        drawn = next(waiting, None)
                        if drawn is None:
                            more = False
                            break
                        index, item = drawn
                        # One that is half started could not be ended: nobody would know of it yet.
                        with defer_signals(), interrupt_blocked():
                            # Pools of one: a process that dies takes no other task with it.
                            pool = idle.pop() if idle else ProcessPoolExecutor(1, context, _prepare)
                            running[pool.submit(_call, task, item, path)] = (index, item, pool)
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        index, item, pool = running.pop(future)
                        if more and future.exception() is None:
                            idle.append(pool)
                        else:
                            pool.shutdown()
                        yield _task_result(index, item, future)
            finally:
                with ignore_signals():
                    for pool in idle:
                        pool.shutdown()
                    if running:
                        self._end(running, strangers)

    def _processes(self) -> BaseContext:
        if self._context is None:
            self._context = multiprocessing.get_context("forkserver" if self.warm else "spawn")
            if sys.platform != "win32":
                from multiprocessing import resource_tracker

                # The first process to start would start it otherwise, and it unblocks the signal.
                resource_tracker.ensure_running()
            if self.warm:
                from multiprocessing import forkserver

                self._context.set_forkserver_preload(self._preload)
                with interrupt_blocked():
                    forkserver.ensure_running()
        return self._context

    @staticmethod
    def _end(running: dict[Future[Any], tuple[int, Any, ProcessPoolExecutor]], strangers: set[Any]) -> None:
        """Ask the tasks' processes to end, give them time to tidy up, then insist; ``strangers`` are not theirs."""
        children = [child for child in multiprocessing.active_children() if child not in strangers]
        for child in children:
            child.terminate()
        deadline = time.monotonic() + GRACE
        for child in children:
            child.join(max(deadline - time.monotonic(), 0.0))
            if child.is_alive():
                child.kill()
        for _, _, pool in running.values():
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def interrupt_blocked() -> Iterator[None]:
    """Let the processes that start inside inherit a blocked Ctrl-C, which reaches all processes of a terminal.

    During their imports it would end them with a traceback.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare() -> None:
    """Set up a task's process: the parent alone answers to Ctrl-C, and passes it on as a termination signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.unraisablehook = send_again
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()


def end_with_parent() -> None:
    """End this process when its parent was killed: the executor's process would wait for further tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(GRACE)
        os._exit(130)


@cache
def _shared(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301 - written by the parent, in a folder of its own


def _call(task: Callable[[Any, Any], Any], item: Any, path: Path) -> Any:
    try:
        # Between tasks a process has nothing to tidy up, and ends at once.
        signal.signal(signal.SIGTERM, interrupt)
        answer = task(item, _shared(path))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except KeyboardInterrupt:
        # The run is tidied up and nobody waits for an answer.
        os._exit(130)
    return answer


def _task_result(index: int, item: Item, future: Future[Answer]) -> TaskResult[Item, Answer]:
    try:
        return TaskResult(index, item, answer=future.result())
    except BrokenProcessPool:
        died = TaskDiedError("its process died; the system may have run out of memory (try fewer --jobs)")
        return TaskResult(index, item, error=died)
    except Exception as error:  # noqa: BLE001 - whatever a task raises is its outcome
        return TaskResult(index, item, error=error)
