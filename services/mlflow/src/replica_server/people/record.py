"""The record of changes: who did what, when, from where, and how it was answered. Reading is not recorded.

It is only appended to; a trigger refuses anything else, but for rows that are older than the setting keeps. Whoever
holds the database's password can remove the trigger: the record is for colleagues, not against the operator.
"""

import sys
import threading
from datetime import UTC, datetime

from replica_server.people.directory import Directory, UnavailableError
from replica_server.people.roles import Asking
from replica_server.text import printable

WRITE = "INSERT INTO people.record (person, by, address, action, object, status) VALUES (%s, %s, %s, %s, %s, %s)"
PRUNE = "DELETE FROM people.record WHERE time < now() - make_interval(days => %s)"
DAY = 86_400.0


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
