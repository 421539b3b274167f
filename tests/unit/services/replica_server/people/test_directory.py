"""services/mlflow: what is asked of the database about people ends, also where the database hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from replica_server.people import directory
from replica_server.people.directory import Directory, UnavailableError


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Directory]:
    """A database that takes connections and does not answer."""
    goes_on = threading.Event()
    monkeypatch.setattr(directory, "PATIENCE", 0.05)
    monkeypatch.setattr(Directory, "_run", lambda *_: goes_on.wait(30))
    made = Directory()
    yield made
    goes_on.set()


@pytest.mark.parametrize(
    "ask",
    [lambda it: it.ask("SELECT 1"), lambda it: asyncio.run(it.find("SELECT 1"))],
    ids=["in a thread", "in the event loop"],
)
def test_hanging_database_refuses(hanging: Directory, ask: Callable[[Directory], object]) -> None:
    """More requests than there are connections: none of them waits for ever."""
    for _ in range(4):
        with pytest.raises(UnavailableError, match=r"has not answered within 0\.05 seconds") as refused:
            ask(hanging)
        assert refused.value.get_http_status_code() == 503  # type: ignore[no-untyped-call]
        assert "\n" not in refused.value.message
