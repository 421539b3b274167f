"""A task that its client gives up as it begins or ends: no worker runs it for nobody, and no client waits in vain."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import dask
import pytest
from dask.task_spec import Task
from distributed import Scheduler
from distributed.worker_state_machine import ComputeTaskEvent, FreeKeysEvent
from trainer.parallel.cluster.remote_task import PROCESS, Call, run_remotely
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

    # No certificates, whatever other tests have configured.
    with dask.config.set({"distributed.comm.require-encryption": False}):
        assert asyncio.run(calls()) == (0 if given_up else 1)


class InterruptedChannel:
    """A worker's way to its client, on which one kind of message meets an interrupt."""

    def __init__(self, kind: str) -> None:
        self.kind, self.sent = kind, list[str]()

    def send(self, topic: str, message: list[Any]) -> None:
        """Note the kind of a message, or be interrupted."""
        assert topic == "topic"
        if message[0] == self.kind:
            raise KeyboardInterrupt
        self.sent.append(message[0])

    def unpack(self, digest: str) -> str:
        """Return what a task shares with others."""
        return digest


def answered(_item: int, _shared: str) -> str:
    """Return a task's answer."""
    return "done"


def interrupted(_item: int, _shared: str) -> str:
    """Be interrupted, as a task that tidies up."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("task", "kind", "sent"),
    [
        (answered, "none", ["begun", "answer"]),
        (answered, "begun", ["interrupted"]),
        (answered, "answer", ["begun", "interrupted"]),
        (interrupted, "none", ["begun", "interrupted"]),
    ],
)
def test_client_hears_that_a_task_has_ended(
    task: Callable[[int, str], str], kind: str, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the interrupt comes just as the worker sends a message: the client would wait for the task."""
    channel = InterruptedChannel(kind)
    monkeypatch.setattr(PROCESS, "channel", channel)
    monkeypatch.setattr(PROCESS, "topic", "")
    run_remotely(pickle.dumps(Call(task, 1, "shared", "topic", 1, {}, "client")))
    assert channel.sent == sent
