"""Finds the row of a request in the table of routes (access_table.py), and with it the role that it takes."""

import re
from dataclasses import dataclass
from functools import lru_cache

from replica_server.people.access_table import TABLE
from replica_server.people.roles import ROLES, Role
from replica_server.requests import routes


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        role: The least role that it takes; None: it is open to everyone.
        method: The request's.
        path: What matches the request's path.
        change: The change's name in the record; empty when it is not recorded.
        perhaps: Whether it is recorded only where the guards see that it renames something.
        example: A path that it matches.
        grant: Which grants stand in the role's place: "experiment", "artifact" or "model"; empty: none does.
    """

    role: Role | None
    method: str
    path: re.Pattern[str]
    change: str = ""
    grant: str = ""
    perhaps: bool = False
    example: str = ""

    @property
    def own(self) -> bool:
        """Whether it is this stack's route, and not MLflow's: people's own, and what permissions.py answers."""
        return self.example.startswith(("/people/", "/api/2.0/mlflow/users/", "/api/2.0/mlflow/roles/"))


def _expression(path: str) -> re.Pattern[str]:
    parts = re.split(r"(<path:\w+>|<\w+>|^~)", path)
    known = {"~": rf"{routes.API}/?"}
    return re.compile(
        "".join(
            known.get(part) or (".+" if part.startswith("<path:") else "[^/]+" if part[:1] == "<" else re.escape(part))
            for part in parts
        ),
        re.DOTALL,
    )


def _row(line: str) -> Row:
    who, method, path, *change = line.split()
    role, _, grant = who.partition("@")
    what, perhaps, _ = "".join(change).partition("?")
    example = re.sub(r"<[^>]+>", "x", path.replace("~", "/api/2.0/"))
    takes = None if role == "open" else ROLES[role]
    return Row(takes, method, _expression(path), what, grant, bool(perhaps), example)


ROWS = tuple(_row(line) for line in TABLE.strip().splitlines())
#: The routes that MLFLOW_EXTRA_ROUTES turns on hold keys and run code: only an administrator's.
EXTRA = Row(Role.ADMIN, "", re.compile(""), "extra-route")
LONGEST_KEPT = 512
#: The methods that change nothing.
READING = ("GET", "HEAD", "OPTIONS")
_BY_METHOD: dict[str, list[Row]] = {}
for _each in ROWS:
    _BY_METHOD.setdefault(_each.method, []).append(_each)


def find(method: str, path: str) -> Row | None:
    """Returns the first row of a request; None when there is none, and so nobody may send it."""
    # Strangers' long paths are not kept: a few thousand would fill the memory.
    return _kept(method, path) if len(method) + len(path) <= LONGEST_KEPT else _find(method, path)


def _find(method: str, path: str) -> Row | None:
    method = {"HEAD": "GET", "OPTIONS": "GET"}.get(method, method)
    for row in _BY_METHOD.get(method, ()):
        if row.path.fullmatch(path):
            return row
    return EXTRA if routes.group(path) else None


_kept = lru_cache(4096)(_find)
