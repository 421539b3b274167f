"""services/mlflow: what the middleware for people records, whatever the client does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from replica_server.people.admin_host import AdminHost
from replica_server.people.auth_middleware import AuthMiddleware, address_of
from replica_server.people.cache import GRANTS, ROLE_OF, PeopleCache
from replica_server.people.directory import UnavailableError
from replica_server.people.identity import Proofs
from replica_server.people.roles import asking

PROOFS = Proofs(b"the proxy's", b"the console's", {})
DELETE = "/api/2.0/mlflow/registered-models/delete"


class Record:
    """Stands in the record's place; writing takes a turn of the event loop, as in the database."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int]] = []
        self.addresses: list[str] = []

    async def write(self, request: Any, address: str, change: str, path: str, status: int) -> None:
        """Appends one change."""
        await asyncio.sleep(0)
        self.addresses.append(address)
        self.rows.append((change, "; ".join(request.objects) or path, status))


class Directory:
    """Stands in the database's place: alice has a role, and perhaps grants, which it counts the askings for."""

    def __init__(self, role: str = "admin", *grants: tuple[str, str, str]) -> None:
        self.role = role
        self.grants = list(grants)
        self.asked = 0

    async def find(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        assert values == ("alice",)
        if statement == GRANTS:
            self.asked += 1
            return list(self.grants)
        assert statement == ROLE_OF
        return [(self.role,)]

    async def listen(self) -> None:
        """Tells nothing."""


def answer(
    app: Callable[..., Awaitable[None]],
    path: str = DELETE,
    method: str = "DELETE",
    *headers: tuple[bytes, bytes],
    directory: Directory | None = None,
) -> tuple[list[tuple[str, str, int]], list[int]]:
    """Returns what is recorded of a request that the application answers, and the statuses that are sent."""
    record, statuses = Record(), []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    proven = [(b"x-replica-user", b"alice"), (b"x-replica-proof", b"the proxy's")]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"role=viewer",
        "headers": [*proven, *headers],
        "client": ("192.0.2.1", 1),
    }
    directory = directory or Directory()
    middleware = AuthMiddleware(app, PROOFS, PeopleCache(directory), directory, record, AdminHost(""))  # type: ignore[arg-type]
    try:
        asyncio.run(middleware(scope, receive, send))
    except RuntimeError:
        statuses.append(0)
    assert set(record.addresses) <= {"192.0.2.1"}
    return record.rows, statuses


def doing(status: int = 0, *, sends: bool = False, fails: bool = False) -> Callable[..., Awaitable[None]]:
    """Returns an application that deletes a model; MLflow's answer has this status, and may not reach the client."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        request = asking.get()
        assert request is not None
        request.objects.append("model m")
        request.status = status
        if fails:
            raise RuntimeError
        if sends:
            await send({"type": "http.response.start", "status": status, "headers": []})

    return app


@pytest.mark.parametrize(
    ("app", "status", "sent"),
    [
        (doing(200, sends=True), 200, [200]),
        (doing(403, sends=True), 403, [403]),
        # The client has gone: MLflow has answered, or has not.
        (doing(200), 200, []),
        (doing(), 499, []),
        (doing(fails=True), 500, [0]),
    ],
)
def test_change_is_recorded_once(app: Callable[..., Awaitable[None]], status: int, sent: list[int]) -> None:
    assert answer(app) == ([("delete-model", "model m", status)], sent)


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([], "192.0.2.1"),
        # Only the proxy says where a client is, also of one with a token.
        ([(b"x-forwarded-for", b"198.51.100.7")], "192.0.2.1"),
        ([(b"x-replica-proof", b"the proxy's"), (b"x-forwarded-for", b"198.51.100.7")], "198.51.100.7"),
        ([(b"x-replica-proof", b"the proxy's"), (b"x-forwarded-for", b"a, 198.51.100.7")], "198.51.100.7"),
        ([(b"x-replica-proof", b"the proxy's")], "192.0.2.1"),
    ],
)
def test_address_is_the_clients_own(headers: list[tuple[bytes, bytes]], address: str) -> None:
    assert address_of({"headers": headers, "client": ("192.0.2.1", 1)}) == address


def test_change_is_recorded_though_the_client_goes() -> None:
    """The request is cancelled while its change is written: it is written nevertheless, and once."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        started = asyncio.ensure_future(send({"type": "http.response.start", "status": 200, "headers": []}))
        await asyncio.sleep(0)
        started.cancel()
        await asyncio.wait([started])

    assert answer(app) == ([("delete-model", DELETE, 200)], [])


def test_rename_is_recorded_where_it_is_seen() -> None:
    """The same route ends runs and logs to them, which is no row of the record."""
    path = "/api/2.0/mlflow/runs/update"

    async def rename(*arguments: Any) -> None:
        request = asking.get()
        assert request is not None
        request.renames = True
        await doing(200, sends=True)(*arguments)

    assert answer(rename, path, "POST") == ([("rename-run", "model m", 200)], [200])
    # Also where something is noted of it, as of what is refused.
    assert answer(doing(200, sends=True), path, "POST") == ([], [200])


def test_reading_is_not_recorded() -> None:
    """Also where only an administrator may read: MLFLOW_EXTRA_ROUTES."""
    for method in ("GET", "HEAD", "OPTIONS"):
        assert answer(doing(200, sends=True), "/api/2.0/mlflow/webhooks", method) == ([], [200])
    assert answer(doing(200, sends=True), "/api/2.0/mlflow/webhooks", "POST")[0][0][0] == "extra-route"


LOG = "/api/2.0/mlflow/runs/log-metric"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/7/run/artifacts/a"
EXPERIMENT, RELEASE = ("experiment", "7", "member"), ("model", "shop", "release")


@pytest.mark.parametrize(
    ("role", "grants", "method", "path", "status", "asked"),
    [
        # Whose role suffices, the database is asked nothing more of.
        ("member", [EXPERIMENT], "POST", LOG, 200, 0),
        ("release", [RELEASE], "DELETE", DELETE, 200, 0),
        ("viewer", [EXPERIMENT], "GET", "/api/2.0/mlflow/runs/get", 200, 0),
        # A grant lets a request through to where it is known what it is about.
        ("viewer", [EXPERIMENT], "POST", LOG, 200, 1),
        ("viewer", [RELEASE], "DELETE", DELETE, 200, 1),
        ("member", [RELEASE], "DELETE", DELETE, 200, 1),
        ("viewer", [EXPERIMENT], "PUT", ARTIFACT, 200, 1),
        ("viewer", [EXPERIMENT], "PUT", ARTIFACT.replace("/7/", "/8/"), 403, 1),
        # Not one of the other kind, and not what grants are not for.
        ("viewer", [RELEASE], "POST", LOG, 403, 1),
        ("viewer", [EXPERIMENT], "DELETE", DELETE, 403, 1),
        ("viewer", [RELEASE], "PUT", ARTIFACT, 403, 1),
        ("viewer", [], "POST", LOG, 403, 1),
        ("viewer", [EXPERIMENT, RELEASE], "POST", "/api/2.0/mlflow/experiments/create", 403, 0),
        ("viewer", [EXPERIMENT, RELEASE], "DELETE", "/api/2.0/mlflow/datasets/d-1", 403, 0),
        ("viewer", [EXPERIMENT, RELEASE], "POST", "/people/grants/alice", 403, 0),
        ("release", [RELEASE], "POST", "/people/grants/alice", 403, 0),
    ],
)
def test_grant_lets_a_request_through(
    role: str, grants: list[tuple[str, str, str]], method: str, path: str, status: int, asked: int
) -> None:
    directory = Directory(role, *grants)
    seen: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        seen.append(asking.get())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    _, statuses = answer(app, path, method, directory=directory)
    assert (statuses, directory.asked, len(seen)) == ([status], asked, status == 200)
    if seen:
        assert (seen[0].needs is None) == (role != "viewer" or method == "GET")


def test_grants_unknown_refuse() -> None:
    """The database is away when they are asked for."""

    class Away(Directory):
        async def find(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
            if statement == GRANTS:
                raise UnavailableError(OSError("away"))
            return await super().find(statement, *values)

    assert answer(doing(200, sends=True), LOG, "POST", directory=Away("viewer"))[1] == [503]
