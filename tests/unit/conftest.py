"""Marks what `scripts/test --quick` leaves out: unit tests that need a server, a process or a database of their own."""

from __future__ import annotations

import pytest

# Before all else: skops looks at each module that is there.
import skops.io  # noqa: F401

# Imported for its effect: the garbage collector stays out of the way of the imports, and of the tests' many objects.
import trainer.accelerators.garbage_collection  # noqa: F401

# Whoever asks for one of these starts a server or a process, or works on a database in a file.
NEEDS_MORE = {"collection", "proxy", "serve", "server", "start", "stores", "workdir", "written_store"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if NEEDS_MORE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.process)
