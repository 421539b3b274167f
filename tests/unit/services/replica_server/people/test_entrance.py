"""services/mlflow: what the entrance records, whatever the client does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from replica_server.people.entrance import Entrance
from replica_server.people.identity import Proofs
from replica_server.people.known import ROLE_OF, Known
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
    """Stands in the database's place: alice is an administrator."""

    async def find(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        assert statement == ROLE_OF
        return [("admin",)] if values == ("alice",) else []

    async def listen(self) -> None:
        """Tells nothing."""


def answer(
    app: Callable[..., Awaitable[None]], path: str = DELETE, method: str = "DELETE", *headers: tuple[bytes, bytes]
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
    directory = Directory()
    entrance = Entrance(app, PROOFS, Known(directory), directory, record)  # type: ignore[arg-type]
    try:
        asyncio.run(entrance(scope, receive, send))
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


def test_change_is_recorded_though_the_client_goes() -> None:
    """The request is cancelled while its change is written: it is written nevertheless, and once."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        started = asyncio.ensure_future(send({"type": "http.response.start", "status": 200, "headers": []}))
        await asyncio.sleep(0)
        started.cancel()
        await asyncio.wait([started])

    assert answer(app) == ([("delete-model", DELETE, 200)], [])


def test_reading_is_not_recorded() -> None:
    """Also where only an administrator may read: MLFLOW_EXTRA_ROUTES."""
    for method in ("GET", "HEAD", "OPTIONS"):
        assert answer(doing(200, sends=True), "/api/2.0/mlflow/webhooks", method) == ([], [200])
    assert answer(doing(200, sends=True), "/api/2.0/mlflow/webhooks", "POST")[0][0][0] == "extra-route"
