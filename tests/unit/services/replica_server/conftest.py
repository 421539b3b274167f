"""Each test has settings of its own."""

import os

import pytest
from replica_server import settings


@pytest.fixture(autouse=True)
def _settings_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the environment at each look, as a test changes it; the server reads it once."""
    monkeypatch.setattr(settings, "current", lambda: settings.Settings.read(os.environ))
