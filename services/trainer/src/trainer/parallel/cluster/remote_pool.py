"""The client's side: hands tasks to the workers of a cluster, and starts those of a lost worker again elsewhere."""

from __future__ import annotations

import pickle
import queue
import time
import uuid
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic

from distributed import Client
from distributed.client import Future

from trainer.parallel.cluster.client_requests import Requests
from trainer.parallel.cluster.code_version import code_resource, code_version
from trainer.parallel.cluster.credentials import ClusterError, Credentials, parse_address, reach
from trainer.parallel.cluster.parcels import pack, unpack_answer
from trainer.parallel.cluster.remote_task import Call, login, portable, run_remotely
from trainer.parallel.cluster.settings import configure_dask
from trainer.parallel.engine import Answer, Item
from trainer.parallel.pool import GRACE, TaskDiedError, TaskResult
from trainer.parallel.progress import Step
from trainer.util.signals import ignore_signals
from trainer.util.text import one_line

#: A task whose worker is lost starts again until it has been started so many times.
ATTEMPTS = 3
#: How often to look which workers there are, and how long to wait where there is none left, in seconds.
_LOOK, _WITHOUT = 2.0, 60.0
#: How a task says that it has ended.
_ENDS = ("answer", "error", "interrupted")


@dataclass
class _Running(Generic[Item]):
    """A task that runs: its item, the place of that among all, and which attempt this is."""

    index: int
    item: Item
    attempt: int
    future: Future[None]
    #: Its answer or error, when that is here.
    outcome: TaskResult[Item, Any] | None = None
    #: Whether the scheduler knows that it has ended; before, it may hand the next task to a worker that is busy.
    ended: bool = False


class ClusterPool:
    """The workers of a cluster that run this code.

    Args:
        address: The scheduler's, such as ``tls://scheduler:8786``.
        credentials: The client's certificate, and the authority of the scheduler's.
        patience: How long to wait for the scheduler and for the first worker, in seconds.
        warn: Called with a line for each worker that cannot be used.

    Raises:
        ClusterError: The scheduler cannot be reached, or has no worker of this code.
    """

    remote = True
    warm = True

    def __init__(
        self, address: str, credentials: Credentials, patience: float, warn: Callable[[str], None] = lambda _line: None
    ) -> None:
        host, port = parse_address(address)
        self.address = f"tls://{host}:{port}"
        self._warn, self._refused = warn, set[str]()
        reach(address, credentials, patience)
        configure_dask()
        try:
            self._client = Client(
                self.address, security=credentials.security(), timeout=10, set_as_default=False, name="trainer"
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(f"{self.address}: no scheduler answers: {one_line(error)} (--cluster)") from error
        self.scheduler = Requests(self._client, self.address)
        self._slots, self.most = 0, 1 << 30
        self._wait_for_workers(patience)

    @property
    def jobs(self) -> int:
        """How many tasks run side by side: as many as there are workers, but at most ``most``."""
        return min(self._slots, self.most)

    @property
    def idle(self) -> bool:
        """Whether a worker of this code has nothing to do."""
        return bool(self.scheduler.ask("trainer_idle", resource=code_resource()))

    def warm_up(self) -> None:
        """Do nothing: the workers are warm."""

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close(timeout=2)

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
        """Call ``task(item, shared)`` for each item on some worker; see ``Engine.map``.

        Raises:
            ClusterError: The scheduler or the last worker is gone.
        """
        events: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        # What each task has said last: that it has begun, or how it ended. Before, it may wait for another client's.
        said: dict[int, str] = {}
        topic = f"trainer-{uuid.uuid4().hex}"

        def hear(event: tuple[Any, Any]) -> None:
            # Noted in Dask's thread: in this one, Ctrl-C may come between a message's arrival and what is done with it.
            kind, *rest = event[1]
            if kind in ("begun", *_ENDS):
                said[rest[0]] = kind
            events.put([kind, *rest])

        self._client.subscribe_topic(topic, hear)
        parcel, who = self._send(shared), login()
        running: dict[int, _Running[Item]] = {}
        waiting = enumerate(items)
        more, number, looked, without = True, 0, time.monotonic(), None

        def start(index: int, item: Item, attempt: int) -> None:
            nonlocal number
            number += 1
            its = number
            content = pickle.dumps(Call(task, item, parcel, topic, its, who, self._client.id))
            future = self._client.submit(
                run_remotely, content, key=f"{topic}-{its}", resources={code_resource(): 1}, pure=False
            )
            running[its] = _Running(index, item, attempt, future)
            future.add_done_callback(lambda _future: events.put(["ended", its]))

        try:
            while True:
                while more and len(running) < self.jobs:
                    drawn = next(waiting, None)
                    if drawn is None:
                        more = False
                        break
                    start(*drawn, 1)
                if not running and not more:
                    return
                if self._client.status != "running":
                    raise ClusterError(
                        f"{self.address}: the scheduler is gone; the same command goes on where this one was"
                    )
                now = time.monotonic()
                if now - looked > _LOOK:
                    self._look()
                    looked = now
                    without = None if self.jobs else without or now
                    if without is not None and now - without > _WITHOUT:
                        raise ClusterError(
                            f"{self.address}: no worker is left (docker compose --profile cluster up --detach worker);"
                            " the same command goes on where this one was"
                        )
                try:
                    kind, *rest = events.get(timeout=0.5)
                except queue.Empty:
                    continue
                if kind == "step":
                    if show is not None:
                        show(Step(*rest))
                elif kind == "question":
                    self._answer(rest[0], pickle.loads(rest[1]), answer)  # noqa: S301 - of this cluster's workers
                elif (its := running.get(rest[0])) is not None and kind != "begun":
                    reason = "its worker was stopped" if kind == "interrupted" and its.outcome is None else None
                    if kind == "ended":
                        its.ended = True
                        reason = None if its.outcome else self._lost(its.future)
                    elif kind in ("answer", "error"):
                        outcome = unpack_answer(rest[1])
                        its.outcome = TaskResult(its.index, its.item, **{kind: outcome})
                    if reason is None and not (its.outcome and its.ended):
                        continue
                    del running[rest[0]]
                    if its.outcome is not None:
                        yield its.outcome
                    elif again is not None and its.attempt < ATTEMPTS:
                        start(its.index, again(its.item, reason or ""), its.attempt + 1)
                    else:
                        times = f", {its.attempt} times" if its.attempt > 1 else ""
                        died = TaskDiedError(f"{reason}{times} (out of memory, perhaps)")
                        yield TaskResult(its.index, its.item, error=died)
        finally:
            with ignore_signals():
                self._end(running, said, events)
                if self._client.status == "running":
                    self._client.unsubscribe_topic(topic)

    def _lost(self, future: Future[None]) -> str | None:
        """Return why a task has ended without an answer, or None where its answer is on the way."""
        if future.status == "finished":
            return None
        if future.status == "error":
            error = future.exception()
            worker = getattr(getattr(error, "last_worker", None), "name", None)
            return f"worker {worker} died" if worker else one_line(error)
        # Cancelled, as all are when the connection breaks; the client may have another one by now.
        raise ClusterError(f"{self.address}: the scheduler is gone; the same command goes on where this one was")

    def _answer(self, number: str, question: Any, answer: Callable[[Any], Any] | None) -> None:
        try:
            content = pickle.dumps((answer(question) if answer is not None else None, None))
        except Exception as error:  # noqa: BLE001 - whatever it is, the task that asked gets it
            content = pickle.dumps((None, portable(error)))
        self.scheduler.ask("trainer_answer", number=number, answer=content)

    def _end(
        self, running: dict[int, _Running[Any]], said: dict[int, str], events: queue.SimpleQueue[list[Any]]
    ) -> None:
        """Have the tasks that still run interrupted, and give those that have begun time to tidy up."""
        unfinished = {number: its.future for number, its in running.items() if its.outcome is None}
        if not unfinished or self._client.status != "running":
            return
        self._client.cancel(list(unfinished.values()), force=True)
        deadline = time.monotonic() + GRACE
        while any(said.get(number) == "begun" for number in unfinished):
            try:
                events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return

    def look(self) -> int:
        """Look which workers there are now; return how many of this code."""
        self._look()
        return self._slots

    def _send(self, shared: Any) -> str:
        """Send what all tasks share to the scheduler, unless it is there; return the parcel's digest."""
        digest, parcels = pack(shared)
        self.scheduler.send(parcels)
        return digest

    def _wait_for_workers(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        self._look()
        while not self.jobs and time.monotonic() < deadline:
            time.sleep(0.2)
            self._look()
        if not self.jobs:
            others = f"; {len(self._refused)} of another version of the code" if self._refused else ""
            raise ClusterError(
                f"{self.address}: the cluster has no worker of this code ({code_version()}){others}"
                " (docker compose --profile cluster up --detach --wait worker starts one, --build of this code)"
            )

    def _look(self) -> None:
        """Count the workers of this code, and name each other one once."""
        workers = self.scheduler.ask("identity", n_workers=-1)["workers"].values()
        self._slots = 0
        for worker in workers:
            resources = worker["resources"]
            if code_resource() in resources:
                self._slots += int(resources[code_resource()])
            elif worker["name"] not in self._refused:
                self._refused.add(worker["name"])
                other = next((name[5:] for name in resources if name.startswith("code-")), "unknown")
                self._warn(
                    f"worker {worker['name']} runs another version of the code ({other}, here {code_version()})"
                    " and gets no task: build its image anew"
                )
