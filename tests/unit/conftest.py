"""Marks what `scripts/test --quick` leaves out: unit tests that need a server, a process or a database of their own.

Also has what the tests of all packages share.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Imported for its effect: the garbage collector stays out of the way of the imports, and of the tests' many objects.
import trainer.accelerators.garbage_collection  # noqa: F401

# Whoever asks for one of these starts a server or a process, or works on a database in a file.
NEEDS_MORE = {"collection", "proxy", "serve", "server", "start", "stores", "workdir", "written_store"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import what has to be there before the tests, but in the process that only hands them out (pytest-xdist)."""
    if session.config.getoption("dist", "no") == "no":
        # Before all else: skops looks at each module that is there.
        import skops.io  # noqa: F401

        from .trainer import unsynced  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if NEEDS_MORE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="session")
def new_database(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Return a function that puts an empty database of MLflow's into a folder, as mlflow.db, and returns its URI.

    MLflow makes its tables by all its migrations, one after the other. Here each version of MLflow does so once, in
    pytest's cache, and the file is copied.
    """
    import mlflow
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    tables = pytestconfig.cache.mkdir("mlflow-tables") / f"{mlflow.__version__}.db"
    if not tables.exists():
        folder = tmp_path_factory.mktemp("tables")
        made: Any = SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder))  # type: ignore[no-untyped-call]
        made.engine.dispose()
        # Whole or not at all: other processes of pytest look for it at the same time.
        arriving = tables.with_suffix(f".{os.getpid()}")
        shutil.copy(folder / "mlflow.db", arriving)
        arriving.replace(tables)

    def copy(to: Path) -> str:
        shutil.copy(tables, to / "mlflow.db")
        return f"sqlite:///{to}/mlflow.db"

    return copy
