"""A worker's process: its main thread runs one task at a time, and another thread keeps in touch with the scheduler."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.utils import sync
from distributed.worker_state_machine import RescheduleEvent

from trainer.parallel import progress
from trainer.parallel.cluster.client_requests import check_room, put_parcel
from trainer.parallel.cluster.code_version import code_resource
from trainer.parallel.cluster.credentials import ClusterError, Credentials, parse_address, reach
from trainer.parallel.cluster.main_thread import MainThread
from trainer.parallel.cluster.parcels import Parcel, ParcelCache
from trainer.parallel.cluster.remote_task import PROCESS, Channel, worker_name
from trainer.parallel.cluster.settings import configure_dask


class Interrupter(WorkerPlugin):
    """Interrupts a task that its client has given up, or whose client is gone."""

    name = "trainer-interrupter"

    def __init__(self, executor: MainThread) -> None:
        self._executor = executor

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:  # noqa: ARG002
        """Interrupt a task that is not wanted any more."""
        if start == "executing" and finish in ("cancelled", "released"):
            self._executor.interrupt()


class TaskWorker(Worker):
    """Dask's worker, whose end interrupts the task that runs instead of waiting for it."""

    main_thread: MainThread

    async def execute(self, key: Any, *, stimulus_id: str) -> Any:
        """Run a task, unless it was given up before it could begin: Dask would run it for nobody."""
        # Nothing is waited for between here and the executor, so what is given up later is there, and is interrupted.
        if self.state.tasks[key].state == "cancelled":
            return RescheduleEvent(key=key, stimulus_id=stimulus_id)
        return await super().execute(key, stimulus_id=stimulus_id)

    async def close(self, *args: Any, **kwargs: Any) -> Any:
        """Have the task's run tidied up, then leave."""
        self.main_thread.stop(lost=True)
        return await super().close(*args, **kwargs)


class _WorkerChannel(Channel):
    def __init__(self, worker: Worker, room: int, scheduler: tuple[str, int], tables: Path | None) -> None:
        self._worker, self._scheduler = worker, scheduler
        self._tables = None
        if tables is not None:
            # Of Unix alone.
            from trainer.parallel.cluster.shared_tables import SharedTables

            self._tables = SharedTables(tables, room, self._fetch_into)
        self._cache = ParcelCache(room, self._shared)

    def send(self, topic: str, message: list[Any]) -> None:
        self._worker.log_event(topic, message)

    def ask(self, topic: str, number: str, question: bytes, seconds: float) -> bytes:
        answer: bytes = sync(
            self._worker.loop,
            self._worker.scheduler.trainer_ask,
            topic=topic,
            number=number,
            question=question,
            seconds=seconds,
        )
        return answer

    def unpack(self, digest: str) -> Any:
        return self._cache.unpack(digest)

    def put(self, parcel: Parcel, client: str) -> None:
        sync(self._worker.loop, self._put, parcel, client)

    async def _put(self, parcel: Parcel, client: str) -> None:
        scheduler: Any = self._worker.scheduler
        reply = await scheduler.trainer_need(client=client, digests=[parcel.digest])
        check_room(parcel.size, reply["room"], f"tls://{self._scheduler[0]}:{self._scheduler[1]}")
        if reply["missing"]:
            await put_parcel(scheduler, client, parcel)

    def host(self) -> str:
        # No packet is sent: the system says by which of its addresses it would.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(self._scheduler)
            return str(probe.getsockname()[0])

    def fetch(self, digest: str) -> memoryview:
        # NumPy's memory has large pages where the system has them, so that the first writes are faster.
        return self._fetch_into(digest, lambda size: np.empty(size, np.uint8).data)

    def _shared(self, digest: str) -> memoryview:
        if self._tables is not None:
            # Where the disk is full, this worker keeps the data in its own memory.
            with suppress(OSError):
                return self._tables.get(digest)
        return self.fetch(digest)

    def _fetch_into(self, digest: str, memory: Callable[[int], memoryview]) -> memoryview:
        content: memoryview
        content, found = sync(self._worker.loop, self._take, digest, memory)
        if found != digest:
            raise ClusterError(f"the scheduler has lost the data {digest[:12]}; the same command sends them again")
        return content

    async def _take(self, digest: str, memory: Callable[[int], memoryview]) -> tuple[memoryview, str]:
        """Have a parcel sent into memory; return it, and the digest of what came."""
        get, here = self._worker.scheduler.trainer_get, hashlib.sha256()
        got = await get(digest=digest, number=0)
        content, offset = memory(got["size"]), 0

        def keep(part: memoryview) -> None:
            content[offset : offset + len(part)] = part
            here.update(part)

        for number in range(1, got["parts"] + 1):
            part = got["part"]
            # The next part comes in while this one is copied.
            following = asyncio.ensure_future(get(digest=digest, number=number)) if number < got["parts"] else None
            await asyncio.get_running_loop().run_in_executor(None, keep, part)
            offset += len(part)
            if following is not None:
                got = await following
        return content, here.hexdigest()


def run_worker(
    address: str,
    credentials: Credentials,
    *,
    room: int,
    preload: Sequence[str],
    patience: float,
    ready: Path | None,
    tables: Path | None = None,
) -> int:
    """Run a worker until it is told to stop or the scheduler is gone; return the exit code.

    Args:
        address: The scheduler's.
        credentials: This worker's certificate, and the authority of the scheduler's.
        room: Bytes of data that it keeps for further sweeps.
        preload: Modules that are imported before the first task.
        patience: How long to try where no scheduler answers yet, in seconds.
        ready: A file that exists as long as the worker takes part, for health checks.
        tables: A folder of data that the workers of this machine share; by default each keeps its own in memory.

    Raises:
        ClusterError: The scheduler cannot be reached.
    """
    configure_dask()
    # A variant by itself may have several threads (``parallel.fit_threads``). OpenMP looks at this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    executor = MainThread()
    sys.unraisablehook = executor.send_again
    for module in preload:
        importlib.import_module(module)
    reach(address, credentials, patience)

    def take_part() -> None:
        try:
            asyncio.run(_take_part(address, credentials, executor, room, ready, tables))
        finally:
            # Whatever has ended it: this process would otherwise wait for tasks that no longer come.
            executor.stop(lost=True)

    threading.Thread(target=take_part, name="cluster", daemon=True).start()
    executor.run()
    if ready is not None:
        ready.unlink(missing_ok=True)
    # At once, so that the scheduler sees a lost worker, and the client decides what becomes of its task.
    sys.stdout.flush()
    os._exit(1 if executor.lost else 0)


async def _take_part(
    address: str,
    credentials: Credentials,
    executor: MainThread,
    room: int,
    ready: Path | None,
    tables: Path | None,
) -> None:
    host, port = parse_address(address)
    try:
        worker = TaskWorker(
            f"tls://{host}:{port}",
            security=credentials.security(),
            executor=executor,
            nthreads=1,
            name=worker_name(),
            resources={code_resource(): 1},
            plugins=(Interrupter(executor),),
            memory_limit=0,
            dashboard=False,
            # What is left without the dashboard is plain HTTP, which nobody else needs to reach.
            dashboard_address="127.0.0.1:0",
        )
        worker.main_thread = executor
        async with worker:
            channel = _WorkerChannel(worker, room, (host, port), tables)
            PROCESS.channel = channel
            progress.relay = lambda step: channel.send(PROCESS.topic, ["step", *step.fields()])
            print(f"worker {worker.name}: takes part at tls://{host}:{port}, code {code_resource()[5:]}", flush=True)
            if ready is not None:
                ready.touch()
            await worker.finished()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - whatever it is, the process ends, and is started anew
        print(f"worker: error: {error}", file=sys.stderr, flush=True)
    print("worker: the scheduler is gone", file=sys.stderr, flush=True)
