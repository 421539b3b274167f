"""The audit log: one JSON line for each decision. Who asked for what, of which object, and whether it was allowed.

`allowed` is what roles and scopes say. The storage may still answer otherwise, that there is no such object for one. A
fault that was injected is an entry too, without it: nothing was decided.
"""

import json
from collections import deque
from datetime import UTC, datetime

KEPT = 100_000


class Audit:
    """Prints each entry, for the container's log, and keeps the last ones for those who ask."""

    def __init__(self) -> None:
        self._entries: deque[str] = deque(maxlen=KEPT)

    def add(self, event: str, account: str | None, *, allowed: bool | None, **details: object) -> None:
        """Adds an entry; details that are empty are left out."""
        entry: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "account": account or "anonymous",
        }
        entry |= {} if allowed is None else {"allowed": allowed}
        entry |= {name: value for name, value in details.items() if value}
        line = json.dumps(entry)
        self._entries.append(line)
        print(line, flush=True)

    def lines(self) -> str:
        """Returns the kept entries as JSON lines, oldest first."""
        return "".join(f"{line}\n" for line in self._entries)

    def clear(self) -> None:
        """Forgets the kept entries; what was printed stays in the container's log."""
        self._entries.clear()
