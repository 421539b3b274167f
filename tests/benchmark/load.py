"""Sends requests over many connections: as many as a server answers, or so many a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

_END = b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Sends a request at a time, and notes how long each takes."""

    def __init__(self, request: bytes, times: list[float], waiting: deque[float] | None, until: float) -> None:
        self._request, self._times, self._waiting, self._until = request, times, waiting, until
        self._buffer, self._due, self.busy = bytearray(), 0.0, False
        #: uvloop's is no subclass of asyncio's.
        self._transport: Any = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._waiting is None:
            self.send(time.perf_counter())

    @property
    def free(self) -> bool:
        """Whether a request can be sent now."""
        return not self.busy and not self._transport.is_closing()

    def send(self, due: float) -> None:
        """Send a request that was due at a time."""
        self._due, self.busy = due, True
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, body = bytes(self._buffer).partition(_END)
        if not mark:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"serving: error: {head[:100]!r} {body[:200]!r}")
        self._buffer.clear()
        now = time.perf_counter()
        self._times.append(now - self._due)
        self.busy = False
        if self._waiting is None and now < self._until:
            self.send(now)
        elif self._waiting:
            self.send(self._waiting.popleft())
        elif self._waiting is None:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def _open(
    port: int, request: bytes, connections: int, waiting: deque[float] | None, until: float
) -> tuple[list[float], list[_Connection]]:
    loop, times = asyncio.get_running_loop(), list[float]()
    made = [
        loop.create_connection(lambda: _Connection(request, times, waiting, until), "127.0.0.1", port)
        for _ in range(connections)
    ]
    return times, [protocol for _, protocol in await asyncio.gather(*made)]


async def largest_rate(port: int, request: bytes, connections: int, seconds: float) -> float:
    """Return how many requests a second are answered when each connection sends the next at once."""
    begin = time.perf_counter()
    times, opened = await _open(port, request, connections, None, begin + seconds)
    await asyncio.gather(*(connection.ended for connection in opened))
    return len(times) / (time.perf_counter() - begin)


async def at_rate(port: int, request: bytes, connections: int, rate: float, seconds: float) -> list[float]:
    """Return how long requests take, each from when it was due, at so many a second."""
    waiting: deque[float] = deque()
    times, opened = await _open(port, request, connections, waiting, 0.0)
    begin, count = time.perf_counter(), int(rate * seconds)
    for index in range(count):
        due = begin + index / rate
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        # A server closes a connection that was idle for 5 s; at a low rate, the first ones do all the work.
        free = next((connection for connection in opened if connection.free), None)
        if free is None:
            waiting.append(due)
        else:
            free.send(due)
    deadline = time.perf_counter() + 30
    while len(times) < count and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    return times
