"""Lists artifacts without rows and rows without artifacts, and with --remove removes them.

docker compose run --rm gc orphans
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any, cast

from mlflow.exceptions import MlflowException

from replica_server import database, settings
from replica_server.artifacts.removal import RemovalError
from replica_server.commands.deletion import begin
from replica_server.housekeeping import orphans
from replica_server.housekeeping.files import remove_files
from replica_server.text import printable

if TYPE_CHECKING:
    from replica_server.artifacts.stored_objects import BackedUp


def say(what: str, removed: bool) -> None:
    """Prints one thing and what became of it."""
    print(f"orphans: {what}{': removed' if removed else ''}", flush=True)


def remove_row(store: Any, registry: Any, lost: orphans.Lost) -> None:
    """Deletes a row as MLflow does: a model is marked, and `gc` removes it later; a version is gone."""
    if lost.model_id:
        store.delete_logged_model(lost.model_id)
    else:
        registry.delete_model_version(lost.name, lost.version)


def report(store: Any, registry: Any, repository: "BackedUp", remove: bool) -> None:
    """Lists what was found, removes it on request, and sums up."""
    from mlflow.entities import LoggedModelStatus

    destination = repository.artifact_uri
    listed = orphans.Listed.read(repository.objects(), orphans.experiment_folders(store.engine, destination))
    folders = orphans.without_rows(store.engine, destination, listed)
    objects = size = 0
    for place, (owner, amount) in sorted(folders.items()):
        if remove:
            remove_files(f"{destination.rstrip('/')}/{place}", owner, destination)
        say(f"{printable(place)}: {amount.objects:,} artifacts, {amount.size:,} bytes, and no row", remove)
        objects, size = objects + amount.objects, size + amount.size
    lost_rows = kept = 0
    ready = LoggedModelStatus.READY.to_int()
    for lost in orphans.without_objects(store.engine, destination, listed, ready):
        what = f"{printable(lost.what)}: a row, and no artifacts"
        lost_rows += 1
        if remove and lost.alias:
            kept += 1
            print(f"orphans: {what}: kept, because the alias {printable(lost.alias)} points to it", flush=True)
            continue
        if remove:
            remove_row(store, registry, lost)
        say(what, remove)
    other = f"; {listed.others.objects:,} others are no run's, model's or trace's" if listed.others.objects else ""
    if listed.foreign.objects:
        other += f"; {listed.foreign.objects:,} others are in no experiment's folder: another stack's, perhaps"
    verdict = " removed" if remove else ""
    stay = f" ({kept:,} kept)" if kept else ""
    print(
        f"orphans: {objects:,} artifacts without a row ({size:,} bytes){verdict};"
        f" {lost_rows:,} rows without artifacts{verdict}{stay}{other}"
    )


def main() -> None:
    """Lists and perhaps removes; exits with status 1 and one line when the storage refuses or others are at work."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    parser = argparse.ArgumentParser(prog="gc orphans", description="Lists artifacts without rows, and the reverse.")
    parser.add_argument("--remove", action="store_true", help="remove what is listed")
    options = parser.parse_args()
    # The lock lasts as long as the connection.
    destination, _connection = begin("orphans", lock_needed=options.remove)
    store = SqlAlchemyStore(database.URI, settings.current().artifact_root)  # type: ignore[no-untyped-call]
    registry = Registry(database.URI)  # type: ignore[no-untyped-call]
    try:
        report(store, registry, cast("BackedUp", get_artifact_repository(destination)), options.remove)
    except (MlflowException, RemovalError) as error:
        sys.exit(f"orphans: error: {printable(str(error))}; what is not listed above was not removed")
