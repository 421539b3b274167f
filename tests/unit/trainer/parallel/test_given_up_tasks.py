"""A task that its client gives up in its first moments, as Ctrl-C may: no worker runs it for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from dask.task_spec import Task
from distributed import Scheduler
from distributed.worker_state_machine import ComputeTaskEvent, FreeKeysEvent
from trainer.parallel.cluster.working import TaskWorker

pytestmark = pytest.mark.process

LOCAL: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class CountingThread(Executor):
    """Runs what is submitted at once, as a worker's main thread would; counts it."""

    def __init__(self) -> None:
        self.calls = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function."""
        self.calls += 1
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future

    def stop(self, lost: bool = False) -> None:
        """Do nothing: nothing runs."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for 20 seconds at most."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("given_up", [True, False])
def test_task_given_up_before_it_begins_does_not_run(given_up: bool) -> None:
    """The worker learns of both in one message, before it could begin. A task that is wanted runs."""

    async def calls() -> int:
        thread = CountingThread()
        async with Scheduler(host="127.0.0.1", port=0, **LOCAL) as scheduler:
            worker = TaskWorker(scheduler.address, executor=thread, nthreads=1, **LOCAL)
            worker.main_thread = thread  # type: ignore[assignment]
            async with worker:
                no_data: dict[Any, Any] = {}
                compute = ComputeTaskEvent(
                    key="task",
                    run_id=1,
                    who_has=no_data,
                    nbytes=no_data,
                    priority=(0,),
                    run_spec=Task("task", int),
                    resource_restrictions={},
                    actor=False,
                    annotations={},
                    span_id=None,
                    stimulus_id="test",
                )
                worker.handle_stimulus(compute)
                if given_up:
                    worker.handle_stimulus(FreeKeysEvent(keys=["task"], stimulus_id="test"))
                tasks = worker.state.tasks
                await until(lambda: "task" not in tasks or tasks["task"].state == "memory")
        return thread.calls

    assert asyncio.run(calls()) == (0 if given_up else 1)
