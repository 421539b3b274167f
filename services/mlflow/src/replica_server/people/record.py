"""The record of changes: who did what, when, from where, and how it was answered. Reading is not recorded.

It is only appended to; a trigger refuses anything else, but for rows that are older than the setting keeps. Whoever
holds the database's password can remove the trigger: the record is for colleagues, not against the operator.
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.types import Message, Send

from replica_server.people.directory import Directory, UnavailableError
from replica_server.people.roles import Asking
from replica_server.text import printable

WRITE = "INSERT INTO people.record (person, by, address, action, object, status) VALUES (%s, %s, %s, %s, %s, %s)"
PRUNE = "DELETE FROM people.record WHERE time < now() - make_interval(days => %s)"
DAY = 86_400.0

# To a client that went before MLflow had an answer.
CLIENT_GONE = 499


class Record:
    """Writes the record.

    Args:
        directory: The database.
        days: How long a row is kept.
    """

    def __init__(self, directory: Directory, days: int) -> None:
        self.directory = directory
        self.days = days

    async def write(self, asking: Asking, address: str, change: str, path: str, status: int) -> None:
        """Appends a change; says so in the log when the database fails: the change itself is done by then."""
        person = asking.person
        what = "; ".join(asking.objects) or path
        row = (person.name, person.by, address, change, printable(what), status)
        try:
            await self.directory.find(WRITE, *row)
        except UnavailableError as error:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            print(f"error: not in the record: {now} {' '.join(map(str, row))}: {error.message}", file=sys.stderr)

    def prune_daily(self) -> None:
        """Removes what is older than it is kept, now and once a day."""
        try:
            self.directory.ask(PRUNE, self.days)
        except UnavailableError as error:
            print(f"warning: old rows of the record are not removed: {error.message}", file=sys.stderr, flush=True)
        timer = threading.Timer(DAY, self.prune_daily)
        timer.daemon = True
        timer.start()


class Recorded:
    """A `send` that writes a change into the record before the client is told how it went.

    A client may go before it is told: the change is done nevertheless, and written when the request ends.

    Args:
        request: Who asks; its status is what MLflow answers to a client that has gone.
        send: The answer's way.
        write: Writes the change with a status.
        perhaps: Whether it is written only if the request has turned out to rename something.
    """

    def __init__(
        self, request: Asking, send: Send, write: Callable[[int], Awaitable[None]], *, perhaps: bool = False
    ) -> None:
        self.perhaps = perhaps
        self.request = request
        self.send = send
        self.write = write
        self.writing: asyncio.Future[None] | None = None

    async def __call__(self, message: Message) -> None:
        """Passes a piece of the answer on."""
        if message["type"] == "http.response.start":
            await self._once(message["status"])
        await self.send(message)

    async def end(self, failed: bool) -> None:
        """Writes the change, if no answer was sent; `failed` where the server has failed at it."""
        unsent = HTTPStatus.INTERNAL_SERVER_ERROR if failed else CLIENT_GONE
        await self._once(self.request.status or unsent)

    async def _once(self, status: int) -> None:
        if self.perhaps and not self.request.renames:
            return
        if self.writing is None:
            self.writing = asyncio.ensure_future(self.write(int(status)))
        # A client that goes while it is written ends the request, and not this.
        await asyncio.shield(self.writing)
