"""The stores that runs are imported from: another server, a SQLite file, or a folder of MLflow's file store (mlruns).

A store is only read. A SQLite file may be of another version of MLflow. So it is copied, and the copy is brought to
this MLflow's schema.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from trainer.tracking.connection import make_client, wait_for_server
from trainer.util.errors import InputError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Store:
    """A place with experiments, as the user names it; and the folder with its artifacts, if they are on this disk."""

    name: str
    uri: str
    client: MlflowClient
    artifacts: Path | None

    def located(self, location: str) -> str | None:
        """Return where a run's or model's files are now; None where there are none.

        A store on the disk names its folders by the paths that they had when the run was logged. Where the store was
        moved since, such a path leads nowhere: then the folder is looked for by the end of its path (experiment, run,
        artifacts).
        """
        parts = urlsplit(location)
        if self.artifacts is None or parts.scheme not in ("", "file"):
            return location
        path = Path(unquote(parts.path))
        if path.is_dir():
            return path.as_uri()
        names = [name for name in path.parts if name != path.anchor]
        for place in range(len(names)):
            if (found := self.artifacts.joinpath(*names[place:])).is_dir():
                return found.resolve().as_uri()
        return None


@contextmanager
def open_store(what: str, artifacts: Path | None, wait: float) -> Iterator[Store]:
    """Open a store.

    Args:
        what: A folder (mlruns), a SQLite file, or a server's address.
        artifacts: The folder with the artifacts of a store on the disk; None: the folder itself, or the one named
            mlruns or mlartifacts beside the SQLite file.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        InputError: There is no such store.
        TrackingError: The server cannot be reached, or refuses.
    """
    if "://" in what and not what.startswith(("file://", "sqlite://")):
        yield Store(what, what, wait_for_server(what, wait), None)
        return
    path = Path(unquote(urlsplit(what).path) if what.startswith("file://") else what.removeprefix("sqlite:///"))
    if artifacts is not None and not artifacts.is_dir():
        raise InputError(f"{artifacts}: there is no such folder (--artifacts)")
    if path.is_dir():
        yield _of_folder(path, artifacts)
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="trainer-import-") as folder:
            yield _of_file(path, artifacts, Path(folder) / "mlflow.db")
    else:
        raise InputError(
            f"{path}: there is no such file or folder; name an mlruns folder, or a SQLite file (mlflow.db)"
        )


def _of_folder(path: Path, artifacts: Path | None) -> Store:
    if not any(path.glob("*/meta.yaml")):
        raise InputError(f"{path} holds no experiment (no */meta.yaml): name the folder mlruns itself")
    # Without this variable, MLflow opens no file store.
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    uri = path.resolve().as_uri()
    return Store(uri, uri, make_client(uri), artifacts or path)


def _of_file(path: Path, artifacts: Path | None, copy: Path) -> Store:
    import mlflow.db
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    beside = (path.parent / name for name in ("mlruns", "mlartifacts"))
    folder = artifacts or next((one for one in beside if one.is_dir()), path.parent)
    try:
        # SQLite makes the copy, because a program may be writing to the file.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source:
            known = {name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"experiments", "runs"} <= known:
                raise InputError(f"{path} is no database of MLflow's: it has no experiments")
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        mlflow.db.upgrade.main([f"sqlite:///{copy}"], standalone_mode=False)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read as a SQLite file: {one_line(error)}") from error
    except (CommandError, MlflowException, SQLAlchemyError) as error:
        raise InputError(f"{path} cannot be brought to this MLflow's schema: {one_line(error, 200)}") from error
    return Store(f"sqlite:///{path.resolve()}", f"sqlite:///{copy}", make_client(f"sqlite:///{copy}"), folder)
