"""Downloads: what a storage's client writes in a thread, and the event loop sends to a client.

The storage's client is given something that looks like a file, but holds a few blocks only: whoever is ahead waits for
the other. So an artifact of any size passes through a server of little memory.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from replica_server import limits
from replica_server.artifacts.transfer import AHEAD, THREADS
from replica_server.limits import BLOCK
from replica_server.places import Places

# Each has a thread.
DOWNLOADS = Places(limits.DOWNLOADS)
# Seconds in which a client has to take a block, after which it is taken to be gone.
PATIENCE = limits.PATIENCE


class Abandoned(Exception):  # noqa: N818 - no error of ours, and none that a storage's client would try again at
    """The client is gone: nobody wants the rest."""


class Outgoing:
    """An answer's body, which a thread writes while it is sent."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(AHEAD)
        self._block = bytearray()
        self._abandoned = False

    def _put(self, item: bytes | BaseException | None) -> None:
        if not self._abandoned:
            asyncio.run_coroutine_threadsafe(self._queue.put(item), self._loop).result(PATIENCE)

    def write(self, content: bytes) -> int:
        """Sends bytes; raises Abandoned when nobody wants them any more."""
        if self._abandoned:
            raise Abandoned
        if not self._block and len(content) >= BLOCK:
            self._put(content)
            return len(content)
        self._block += content
        if len(self._block) >= BLOCK:
            self.flush()
        return len(content)

    def flush(self) -> None:
        """Sends what has been collected."""
        if self._block:
            self._put(bytes(self._block))
            self._block.clear()

    def run(self, fetch: Callable[[Any], None]) -> None:
        """Lets `fetch` write everything, in this thread."""
        try:
            fetch(self)
            self.flush()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is made
            self._put(error)
        else:
            self._put(None)

    async def next(self) -> bytes | None:
        """Returns the next bytes; None after the last. Raises what `fetch` raised."""
        item = await self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def abandon(self) -> None:
        """Ends the thread's work: it finds out at its next write."""
        self._abandoned = True
        while not self._queue.empty():
            self._queue.get_nowait()


async def send(fetch: Callable[[Any], None]) -> AsyncIterator[bytes]:
    """Returns what `fetch` writes in a thread, as it comes.

    Raises what it raises before its first bytes, so that an error is still an answer; a later one breaks the connection
    off.
    """
    outgoing = Outgoing()
    outgoing._loop.run_in_executor(THREADS, outgoing.run, fetch)
    try:
        first = await outgoing.next()
    except BaseException:
        outgoing.abandon()
        raise

    async def rest() -> AsyncIterator[bytes]:
        block = first
        try:
            while block is not None:
                yield block
                block = await outgoing.next()
        finally:
            outgoing.abandon()

    return rest()
