"""The interface for running tasks: in processes of this machine (``pool``), or on a cluster (``cluster``).

A sweep and a search know this interface and nothing of what is behind it, so that another engine can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from trainer.parallel.pool import TaskResult
    from trainer.parallel.progress import Step

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Engine(Protocol):
    """Runs independent tasks side by side."""

    @property
    def jobs(self) -> int:
        """How many tasks run side by side."""

    @property
    def remote(self) -> bool:
        """Whether tasks run on other machines, which reach no file of this one."""

    @property
    def warm(self) -> bool:
        """Whether a task begins at once, in a process that has all imports."""

    @property
    def idle(self) -> bool:
        """Whether a task would begin now, and not wait for another command's."""

    def warm_up(self) -> None:
        """Begin what takes time before the first task."""

    def map(
        self,
        task: Callable[[Item, Any], Answer],
        items: Iterable[Item],
        shared: Any = None,
        *,
        again: Callable[[Item, str], Item] | None = None,
        show: Callable[[Step], None] | None = None,
        answer: Callable[[Any], Any] | None = None,
    ) -> Generator[TaskResult[Item, Answer]]:
        """Call ``task(item, shared)`` for each item and yield the outcomes as they come.

        Whoever stops before the last outcome closes the generator, which ends the tasks.

        Args:
            task: A module-level function.
            items: The items, started in this order, each drawn when there is room for it.
            shared: What all tasks need; it travels once, however many tasks there are.
            again: Called with an item whose machine was lost, and with the reason; returns the item to start
                elsewhere. Without it such a task has failed.
            show: Called with the tasks' reports on their progress, where those cannot reach the display themselves.
            answer: Called with a question that a task on another machine asks (``PROCESS.ask_client``); what it
                returns or raises, the task gets.
        """


def run_task(
    engine: Engine,
    task: Callable[[Item, Any], Answer],
    item: Item,
    shared: Any = None,
    *,
    again: Callable[[Item, str], Item] = lambda same, _reason: same,
) -> Answer:
    """Run one task by itself, and return its answer; it starts again elsewhere where its machine is lost.

    Args:
        engine: What runs it.
        task: A module-level function.
        item: Its first argument.
        shared: Its second, which may be large.
        again: Takes the item and why its machine was lost, and returns the item for another attempt.

    Raises:
        Exception: What the task has raised.
        TaskDiedError: Its process has died.
    """
    with closing(engine.map(task, [item], shared, again=again)) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            return outcome.answer  # type: ignore[return-value]
    raise AssertionError("unreachable")


def run_short_task(
    engine: Engine | None,
    task: Callable[[Item, Any], Answer],
    item: Item,
    *,
    again: Callable[[Item, str], Item] = lambda same, _reason: same,
) -> Answer:
    """Run one short task on another machine that has nothing to do, which has its imports; or else in this process.

    Args:
        engine: What the command's tasks run on, if anything.
        task: A module-level function.
        item: Its first argument; the second is None.
        again: As with ``run_task``.

    Raises:
        Exception: What the task has raised.
        TaskDiedError: Its process has died.
    """
    if engine is not None and engine.remote and engine.idle:
        return run_task(engine, task, item, again=again)
    return task(item, None)
