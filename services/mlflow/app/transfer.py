"""Between a client's connection, which the event loop serves, and a storage's client, which works in a thread.

Both are given something that looks like a file, but holds a few blocks only: whoever is ahead waits for the other. So
an artifact of any size passes through a server of little memory, and arrives while it is still being sent.
"""

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

BLOCK = 2**20
# How many blocks may wait for the slower side.
AHEAD = 4
# Not the event loop's own pool, which is small: a slow client holds its thread for as long as it takes.
THREADS = ThreadPoolExecutor(32, "transfer")
# How many uploads are under way at a time, each with a few blocks in memory; others wait with nothing read. Fewer than
# there are threads: slow ones keep no download waiting.
UPLOADS = asyncio.Semaphore(16)
# Seconds without a block after which the other side is taken to be gone.
PATIENCE = 300.0


class Incoming:
    """A request's body, which a thread reads while it arrives."""

    def __init__(self) -> None:
        import google_crc32c

        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        # What has come and is to be read next, and what the last `read` returned: as far back as one can go.
        self._blocks: deque[memoryview] = deque()
        self._last = b""
        self._position = 0
        self._over = False
        self._broken = False
        #: How many bytes have come so far, and their CRC32C.
        self.received = 0
        self.checksum = google_crc32c.Checksum()  # type: ignore[no-untyped-call]

    async def fill(self, chunks: AsyncIterable[bytes]) -> None:
        """Takes the body in, block by block, until its end."""
        block = bytearray()
        try:
            async for chunk in chunks:
                block += chunk
                if len(block) >= BLOCK:
                    await self._queue.put(bytes(block))
                    block.clear()
            if block:
                await self._queue.put(bytes(block))
        except BaseException:
            self._broken = True
            raise
        finally:
            await self._queue.put(None)

    def _next(self) -> memoryview:
        if self._over:
            return memoryview(b"")
        coming = asyncio.run_coroutine_threadsafe(self._queue.get(), self._loop)
        try:
            block = coming.result(PATIENCE)
        except TimeoutError:
            coming.cancel()
            self._broken, block = True, None
        if block is not None:
            self.received += len(block)
            self.checksum.update(block)  # type: ignore[no-untyped-call]
            return memoryview(block)
        self._over = True
        if self._broken:
            raise MlflowException("The upload broke off", error_code=BAD_REQUEST)
        return memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes, fewer only at the end of the body; raises MlflowException when it breaks off."""
        self._last = b""
        content = io.BytesIO()
        while size < 0 or content.tell() < size:
            block = self._blocks.popleft() if self._blocks else self._next()
            if not block:
                break
            taken = len(block) if size < 0 else min(len(block), size - content.tell())
            content.write(block[:taken])
            if taken < len(block):
                self._blocks.appendleft(block[taken:])
        self._position += content.tell()
        self._last = content.getvalue()
        return self._last

    def seekable(self) -> bool:
        """Tells a storage's client that it cannot go where it likes."""
        return False

    def seek(self, position: int) -> int:
        """Goes back, once, to a place in what the last `read` returned, no copy of which is made; returns the place.

        Args:
            position: Counted from the body's beginning, in bytes.

        Raises:
            MlflowException: The place is not there any more, or has not come yet.
        """
        back = self._position - position
        if not 0 <= back <= len(self._last):
            raise MlflowException(f"The upload cannot go on at byte {position} of {self._position}")
        if back:
            self._blocks.appendleft(memoryview(self._last)[-back:])
            self._last = b""
        self._position = position
        return position

    def tell(self) -> int:
        """Returns how many bytes have been read."""
        return self._position

    def drain(self) -> None:
        """Reads the rest: a client that is still sending would see a broken connection instead of an answer."""
        self._blocks.clear()
        self._last = b""
        while self._next():
            pass


async def receive(chunks: AsyncIterable[bytes], store: Callable[[Incoming], None]) -> None:
    """Lets `store` read a request's body in a thread while it arrives; raises what it raises."""
    async with UPLOADS:
        await _receive(chunks, store)


async def _receive(chunks: AsyncIterable[bytes], store: Callable[[Incoming], None]) -> None:
    incoming = Incoming()

    def work() -> None:
        try:
            store(incoming)
        finally:
            incoming.drain()

    working = incoming._loop.run_in_executor(THREADS, work)
    filling = asyncio.ensure_future(incoming.fill(chunks))
    try:
        await working
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


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
