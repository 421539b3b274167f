"""The scheduler's process: Dask's scheduler, which also keeps the parcels that workers have not fetched yet.

It unpacks nothing of what clients send beyond the names of this package's functions, and holds no data of its own.
"""

from __future__ import annotations

import asyncio
import signal
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.serialize import Serialized

from trainer.parallel.cluster.credentials import Credentials
from trainer.parallel.cluster.dashboard import Dashboard
from trainer.parallel.cluster.settings import configure_dask

#: Parcels travel in parts of this many bytes: between two of them the scheduler turns to others.
PART = 16 << 20


class ParcelStore(SchedulerPlugin):
    """The parcels of the clients that are connected, and of earlier ones as long as there is room."""

    name = "trainer-parcels"

    def __init__(self, room: int) -> None:
        self.room = room
        #: In the parts in which they came, which pass through as they are.
        self._parcels: OrderedDict[str, list[Serialized]] = OrderedDict()
        #: Of each parcel that comes in, its parts so far by their numbers; by its client and its digest.
        self._arriving: dict[tuple[str, str], dict[int, Serialized]] = {}
        self._needed: dict[str, set[str]] = {}
        self._questions: dict[str, asyncio.Future[bytes]] = {}
        #: The client whose fit has all workers, if any.
        self._fitting = ""

    def handlers(self) -> dict[str, Any]:
        """Return what the scheduler answers beside Dask's own requests."""
        return {
            "trainer_need": self.need,
            "trainer_put": self.put,
            "trainer_get": self.get,
            "trainer_idle": self.idle,
            "trainer_ask": self.ask,
            "trainer_answer": self.answer,
            "trainer_turn": self.turn,
            "trainer_turn_over": self.turn_over,
        }

    def need(self, client: str, digests: list[str]) -> dict[str, Any]:
        """Keep these parcels for a client as long as it is connected; return those that are not here, and the room."""
        # A worker may ask for a client that has gone meanwhile.
        if client in self.scheduler.clients:
            self._needed.setdefault(client, set()).update(digests)
        for digest in digests:
            if digest in self._parcels:
                self._parcels.move_to_end(digest)
        return {"missing": [digest for digest in digests if digest not in self._parcels], "room": self.room}

    def put(self, client: str, digest: str, size: int, number: int, part: Serialized) -> None:
        """Take a part of a parcel of so many bytes for a client; the parts come in any order."""
        if client not in self.scheduler.clients:
            return
        arriving = self._arriving.setdefault((client, digest), {})
        arriving[number] = part
        if _size(arriving.values()) == size:
            self._parcels[digest] = [arriving[number] for number in sorted(arriving)]
            del self._arriving[client, digest]
            self._make_room()

    def get(self, digest: str, number: int) -> dict[str, Any]:
        """Return a part of a parcel, the number of its parts, and its whole size; no parts where it is not here."""
        parts = self._parcels.get(digest, [])
        return {"parts": len(parts), "size": _size(parts), "part": parts[number] if number < len(parts) else None}

    def idle(self, resource: str) -> bool:
        """Tell whether a worker with this resource has no task."""
        workers = self.scheduler.workers.values()
        return any(resource in worker.resources and not worker.processing for worker in workers)

    async def ask(self, topic: str, number: str, question: bytes, seconds: float) -> bytes:
        """Pass a task's question on to its client, and return the answer; nothing where none comes in time."""
        self._questions[number] = asyncio.get_running_loop().create_future()
        try:
            self.scheduler.log_event(topic, ["question", number, question])
            # It is on its way: the scheduler would keep it among the topic's last events.
            self.scheduler._broker.truncate(topic)
            return await asyncio.wait_for(self._questions[number], seconds)
        except TimeoutError:
            return b""
        finally:
            del self._questions[number]

    def answer(self, number: str, answer: bytes) -> None:
        """Pass a client's answer on to the task that asked."""
        question = self._questions.get(number)
        if question is not None and not question.done():
            question.set_result(answer)

    def turn(self, client: str) -> bool:
        """Give a client all workers for one fit, unless another has them; two such fits would wait for each other."""
        self._fitting = self._fitting or client
        return self._fitting == client

    def turn_over(self, client: str) -> None:
        """Take the turn back; the client's parcels may go."""
        if self._fitting == client:
            self._fitting = ""
        self._needed.pop(client, None)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002
        """Let a client's parcels go when there is no room, and its turn."""
        self.turn_over(client)
        for arriving in [one for one in self._arriving if one[0] == client]:
            del self._arriving[arriving]
        self._make_room()

    async def start(self, scheduler: Scheduler) -> None:
        """Remember the scheduler."""
        self.scheduler = scheduler

    def _make_room(self) -> None:
        needed = set[str]().union(*self._needed.values())
        total = sum(map(_size, self._parcels.values()))
        for digest in list(self._parcels):
            if total <= self.room:
                return
            if digest not in needed:
                total -= _size(self._parcels.pop(digest))


def _size(parts: Iterable[Serialized]) -> int:
    return sum(memoryview(frame).nbytes for part in parts for frame in part.frames)


async def _serve(host: str, port: int, credentials: Credentials, room: int, dashboard: Dashboard | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = ParcelStore(room)
    scheduler = Scheduler(
        host=host,
        port=port,
        protocol="tls",
        security=credentials.security(),
        plugins=[store],
        # Dask would load it at once, with all its pages.
        dashboard=False,
        # What is left without the dashboard is plain HTTP, which nobody else needs to reach.
        dashboard_address=dashboard.address if dashboard else "127.0.0.1:0",
    )
    scheduler.handlers.update(store.handlers())
    if dashboard:
        dashboard.serve(scheduler)
    async with scheduler:
        await store.start(scheduler)
        print(f"scheduler: listens at {scheduler.address}", flush=True)
        await stop.wait()


def run_scheduler(
    host: str, port: int, credentials: Credentials, room: int, dashboard: Dashboard | None = None
) -> None:
    """Run a scheduler until it is told to stop.

    Args:
        host: The address to listen at.
        port: The port; 0 for one that the system chooses.
        credentials: Its certificate, and the authority of the others'.
        room: Bytes of parcels that it keeps.
        dashboard: Where to show the dashboard, if anywhere.

    Raises:
        InputError: The dashboard's address cannot be listened at.
    """
    configure_dask()
    if dashboard:
        dashboard.check()
    asyncio.run(_serve(host, port, credentials, room, dashboard))
