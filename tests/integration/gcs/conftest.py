"""What these tests share. All need the emulator: MinIO has no Google roles, tokens or resumable uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ..stack import Stack
from .emulator import Emulator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gcs)


@pytest.fixture(autouse=True)
def _fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that the server fails is not repeated by the client: what is tested is what the server does."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def emulator(stack: Stack) -> Iterator[Emulator]:
    """The emulator of the session's stack, as it was before when the test is over."""
    emulator = Emulator(stack)
    emulator.clear_audit()
    yield emulator
    emulator.reset()


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    """A new run."""
    created: str = client.create_run("0").info.run_id
    return created
