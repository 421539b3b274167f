"""A limited number of places, for which requests wait in turn. A client that does nothing loses its place to them.

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


class Turn:
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


class Turns:
    """A number of places, given in the order in which they are asked for.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: set[Turn] = set()
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
    async def turn(self, first: bool = False) -> AsyncIterator[Turn]:
        """Waits for a place and holds it.

        Args:
            first: Wait before all others.

        Raises:
            StalledError: The place went to someone else, because the client did nothing.
        """
        await self._take(first)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a turn belongs to a task")
        turn = Turn(task.cancel)
        self._held.add(turn)
        try:
            yield turn
            if turn.ended:
                # The cancellation may be still to come.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not turn.ended:
                raise
            task.uncancel()
            raise StalledError from None
        finally:
            self._held.discard(turn)
            self._give()

    async def _take(self, first: bool) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(place)
        else:
            self._waiting.append(place)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())
        try:
            await place
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            elif not place.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    async def _watch(self) -> None:
        while self._waiting:
            now = time.monotonic()
            # The more requests wait, the shorter the patience: each of them may turn out to be as slow.
            patience = limits.PATIENCE_WHILE_OTHERS_WAIT * max(min(self._places / len(self._waiting), 1), 0.3)
            stalled = [turn for turn in self._held if turn.since is not None and now - turn.since > patience]
            stalled.sort(key=lambda turn: turn.since or now)
            for turn in stalled[: len(self._waiting)]:
                if not turn.ended:
                    turn.ended = True
                    turn.end()
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
