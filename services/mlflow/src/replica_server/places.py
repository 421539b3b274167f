"""A limited number of places, for which requests wait in their order; a client that does nothing loses its place.

If a request kept its place as long as it lasts, the slowest clients would hold all places: sixteen laptops that fell
asleep in the middle of an upload kept everyone's uploads waiting. Here a request says when it waits for its client, and
is ended when that takes long while others wait for a place.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from replica_server import limits


class StalledError(Exception):
    """The client has sent or taken nothing for too long while others waited."""


class Place:
    """A place that a request holds.

    Args:
        end: Ends the request.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self.end = end
        self.ended = False
        #: Since when the request has been waiting for its client, by the monotonic clock in seconds.
        self.since: float | None = None

    @contextmanager
    def of_the_client(self, since: float | None = None) -> Iterator[None]:
        """Marks the time in which the request waits for its client and nothing else.

        Args:
            since: When the client last did something, by the monotonic clock in seconds; None: now.
        """
        self.since = time.monotonic() if since is None else since
        try:
            yield
        finally:
            self.since = None


class Places:
    """A number of places, given in the order in which they are asked for.

    Args:
        number: How many.
    """

    def __init__(self, number: int) -> None:
        self._places = self._free = number
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: set[Place] = set()
        self._watching: asyncio.Task[None] | None = None

    @property
    def held(self) -> int:
        """How many places are taken."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, first: bool = False) -> AsyncIterator[Place]:
        """Waits for a place and holds it.

        Args:
            first: Wait before all others.

        Raises:
            StalledError: The place went to someone else, because the client did nothing.
        """
        await self._take(first)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a place belongs to a task")
        place = Place(task.cancel)
        self._held.add(place)
        try:
            yield place
            if place.ended:
                # The cancellation may be still to come.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not place.ended:
                raise
            task.uncancel()
            raise StalledError from None
        finally:
            self._held.discard(place)
            self._give()

    async def _take(self, first: bool) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    async def _watch(self) -> None:
        while self._waiting:
            now = time.monotonic()
            # The more requests wait, the shorter the patience: each of them may turn out to be as slow.
            patience = limits.PATIENCE_WHILE_OTHERS_WAIT * max(min(self._places / len(self._waiting), 1), 0.3)
            stalled = [place for place in self._held if place.since is not None and now - place.since > patience]
            stalled.sort(key=lambda place: place.since or now)
            for place in stalled[: len(self._waiting)]:
                if not place.ended:
                    place.ended = True
                    place.end()
            await asyncio.sleep(min(1.0, patience / 4))


def is_health_check(scope: Mapping[str, Any]) -> bool:
    """Returns whether a request comes from inside of the container: the health check waits before all others.

    It needs a place like every request, so that it notices when no place becomes free.
    """
    return (scope.get("client") or ("",))[0] == "127.0.0.1"


def ended(what: str) -> str:
    """Returns the line about a request that lost its place.

    Args:
        what: The request, and what its client has not done, as the beginning of a sentence.
    """
    return f"{what} for seconds while others waited"
