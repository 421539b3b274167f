"""Resumable uploads: the pieces of one reach the storage as one request.

The storage hashes everything that has come again for each further piece, so that an upload in many pieces would take
time as the square of its size. In Google's it does not.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from aiohttp import ClientResponse, ClientSession
from yarl import URL

from gateway.errors import invalid

# Google keeps whole units of this size, and the rest only with an object's end: of a piece that breaks off, or that is
# no multiple, the remainder has to be sent again.
UNIT = 256 * 1024

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


def content_range(header: str) -> tuple[int | None, int | None]:
    """Returns where a piece begins and how long the whole object is; None for what a Content-Range leaves open.

    Raises:
        StorageError: It is not one.
    """
    match = _RANGE.fullmatch(header)
    if not match:
        raise invalid(f"Invalid Content-Range: {header}")
    return (None if match[1] is None else int(match[1])), (None if match[2] == "*" else int(match[2]))


@dataclass(frozen=True)
class Finished:
    """The storage's answer to the last piece: whoever asks again gets the object's description again."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Upload:
    """One upload: who began it, for which object, how many bytes of it are kept, and how it ended."""

    account: str
    bucket: str
    name: str
    received: int = 0
    finished: Finished | None = None
    # A few chunks: the client waits for the storage.
    _chunks: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(4))
    _answer: asyncio.Task[ClientResponse] | None = None

    async def _content(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def _put(self, chunk: bytes | None) -> None:
        assert self._answer is not None  # noqa: S101 - begun by `take`
        putting = asyncio.ensure_future(self._chunks.put(chunk))
        # The storage may end the request before its end.
        await asyncio.wait({putting, self._answer}, return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()

    async def take(
        self, store: ClientSession, url: URL, headers: Mapping[str, str], piece: AsyncIterator[bytes]
    ) -> ClientResponse | None:
        """Passes a piece on; returns the storage's answer after the last one, else None.

        Of a piece that was sent before, the bytes that are kept already are ignored and the rest is taken. One that
        leaves a gap is ignored as a whole. Either way the client learns from `received` where to go on.

        Raises:
            StorageError: The piece's Content-Range is not one.
        """
        whole = headers.get("Content-Range")
        start, total = content_range(whole) if whole else (0, None)
        if self._answer is None:
            passed_on = {
                name: value
                for name, value in headers.items()
                if name.lower() not in ("content-range", "content-length")
            }
            self._answer = asyncio.ensure_future(store.put(url, headers=passed_on, data=self._content()))
        position = self.received if start is None else start
        # What has come and makes no unit yet: gone if the piece breaks off.
        pending = bytearray()
        async for chunk in piece:
            expected = self.received + len(pending)
            if position <= expected:
                pending += chunk[expected - position :]
            position += len(chunk)
            if units := len(pending) // UNIT * UNIT:
                await self._keep(bytes(pending[:units]))
                del pending[:units]
            if self._answer.done():
                break
        complete = whole is None or total == self.received + len(pending)
        if complete:
            if pending:
                await self._keep(bytes(pending))
            await self._put(None)
        return await self._answer if complete or self._answer.done() else None

    async def _keep(self, content: bytes) -> None:
        await self._put(content)
        self.received += len(content)

    def cancel(self) -> None:
        """Gives the upload up."""
        if self._answer:
            self._answer.cancel()
