"""Uploads: what a client sends, which the event loop receives, and a storage's client reads in a thread.

The storage's client is given something that looks like a file, but holds a few blocks only: whoever is ahead waits for
the other. So an artifact of any size passes through a server of little memory, while it is still being sent.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, Callable
from contextlib import AsyncExitStack, nullcontext
from contextvars import ContextVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from starlette.requests import ClientDisconnect

from replica_server import limits
from replica_server.artifacts.transfer import AHEAD, THREADS
from replica_server.limits import BLOCK
from replica_server.places import Place, Places

# Whose first block may be in memory before there is something to work on.
ARRIVING = Places(limits.ARRIVING)
# Uploads that have come as a whole, of up to a block; and those that go on. Each has a thread.
SMALL_UPLOADS = Places(limits.SMALL_UPLOADS)
LARGE_UPLOADS = Places(limits.LARGE_UPLOADS)
# How many bytes a request has said that it brings.
announced: ContextVar[int] = ContextVar("announced", default=0)
# Bytes; smaller pieces are put together as they come.
SMALL_PIECE = 2**12
# Seconds without a block after which the client is taken to be gone.
PATIENCE = limits.PATIENCE


class Incoming:
    """A request's body, which a thread reads while it arrives.

    Args:
        first: What has come already.
    """

    def __init__(self, first: bytes = b"") -> None:
        import google_crc32c

        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        if first:
            self._queue.put_nowait(first)
        # What has come and is to be read next, and what the last `read` returned: as far back as one can go.
        self._blocks: deque[memoryview] = deque()
        self._last = b""
        self._position = 0
        self._over = False
        self._broken = False
        #: How many bytes have come so far, and their CRC32C.
        self.received = 0
        self.checksum = google_crc32c.Checksum()  # type: ignore[no-untyped-call]

    async def fill(self, body: "Body", place: Place) -> None:
        """Takes a request's body in, block by block, until its end.

        Args:
            body: The request's, the first block of which has come.
            place: The place that the request holds, and loses when its client is silent.
        """
        try:
            while block := await body.block(place):
                await self._queue.put(block)
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
        pieces: list[memoryview] = []
        length = 0
        while size < 0 or length < size:
            block = self._blocks.popleft() if self._blocks else self._next()
            if not block:
                break
            taken = len(block) if size < 0 else min(len(block), size - length)
            pieces.append(block[:taken])
            length += taken
            if taken < len(block):
                self._blocks.appendleft(block[taken:])
        self._position += length
        # One copy: an upload's processor time goes into copies.
        self._last = b"".join(pieces)
        return self._last

    def seekable(self) -> bool:
        """Tells a storage's client that it cannot go where it likes."""
        return False

    def seek(self, position: int) -> int:
        """Goes back, once, to a position in what the last `read` returned, without a copy; returns the position.

        Args:
            position: Counted from the body's beginning, in bytes.

        Raises:
            MlflowException: The bytes at the position are gone, or have not come yet.
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


class Body:
    """A request's body, in blocks.

    Args:
        chunks: It, as it comes.
    """

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = aiter(chunks)
        # What has come of the next block, and how many bytes that is.
        self._pieces: list[bytes | bytearray] = []
        self._length = 0
        # When the last bytes came. One that fell silent before it got its place loses it at once.
        self._last = time.monotonic()
        #: Holds the place that a block takes while it is in memory and nobody works on it; closed, it is given back.
        self.holding = AsyncExitStack()
        #: Whether everything has come.
        self.over = False

    def _add(self, piece: bytes) -> None:
        """Keeps what has come. An object for each of many small pieces would take more memory than their content."""
        self._length += len(piece)
        if len(piece) >= SMALL_PIECE:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))

    async def block(self, place: Place | None = None, size: int = BLOCK) -> bytes:
        """Returns the next block, which is smaller than `size` only at the body's end, and empty after it.

        Args:
            place: The place that the request holds while it waits; None: one is taken for more than a few bytes.
            size: Bytes; more may have come at once.

        Raises:
            MlflowException: The client has gone, or has been silent for too long.
        """
        while self._length < size and not self.over:
            if place is None and self._length >= limits.SMALL_BODY:
                place = await self.holding.enter_async_context(ARRIVING.hold())
            with place.of_the_client(self._last) if place else nullcontext():
                try:
                    async with asyncio.timeout(PATIENCE):
                        self._add(await anext(self._chunks))
                    self._last = time.monotonic()
                except StopAsyncIteration:
                    self.over = True
                except (ClientDisconnect, OSError) as error:
                    raise MlflowException("The upload broke off", error_code=BAD_REQUEST) from error
        block = b"".join(self._pieces)
        self._pieces, self._length = [], 0
        return block


async def receive(chunks: AsyncIterable[bytes], store: Callable[[Incoming], None]) -> None:
    """Lets `store` read a request's body in a thread, while it arrives if it is large.

    Nothing is held for a client that has sent next to nothing.

    Raises:
        StalledError: The client was silent while others waited.
        Exception: Whatever `store` raises.
    """
    body = Body(chunks)
    async with body.holding:
        # An upload that is known to be large holds no whole block in memory while it waits.
        first = await body.block(size=limits.SMALL_BODY if announced.get() > BLOCK else BLOCK)
        async with (SMALL_UPLOADS if body.over else LARGE_UPLOADS).hold() as place:
            await body.holding.aclose()
            await _receive(body, first, place, store)


async def _receive(body: Body, first: bytes, place: Place, store: Callable[[Incoming], None]) -> None:
    incoming = Incoming(first)

    def work() -> None:
        try:
            store(incoming)
        finally:
            incoming.drain()

    working = incoming._loop.run_in_executor(THREADS, work)
    filling = asyncio.ensure_future(incoming.fill(body, place))
    try:
        await asyncio.shield(working)
    finally:
        filling.cancel()
        # The thread finds the body broken off, and then its place is free.
        await asyncio.gather(filling, working, return_exceptions=True)
