"""Removes for good what was deleted in MLflow long enough ago: runs, logged models, experiments, and their artifacts.

`mlflow gc` does not do here: it has the tracking server delete the artifacts, whose identity must not; it takes a
refusal of the storage for success; it leaves the models that a run has logged, and it asks nobody whether a registered
model needs the run. So this runs as a container of its own, with an identity that may delete, and for each thing
removes first the files with their older versions, then sees that they are gone, and only then forgets the rows.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from replica_server import database, settings
from replica_server.artifacts.removal import RemovalError, Removed
from replica_server.commands.deletion import begin
from replica_server.housekeeping.files import remove_files
from replica_server.housekeeping.ownership import Ownership

DAY = 24 * 3600 * 1000  # ms
# In days: a century. Much longer ago there is no date.
OLDEST = 36_525
PAGE = 1000
# What else runs with this identity, each a module beside this one.
OTHERS = ("retention", "orphans")


def days(text: str) -> float:
    """Returns an age in days; raises ArgumentTypeError for anything else."""
    try:
        value = float(text.removesuffix("d"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= OLDEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 0 to {OLDEST:,}")
    return value


def pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Yields all results of one of the store's searches."""
    token = None
    while True:
        page = search(**arguments, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


class Collection:
    """What was deleted, and long enough ago.

    Args:
        older_than: Days since the deletion.
        destination: The storage that the server uses.
        dry_run: Say what would be removed, and remove nothing.
    """

    def __init__(self, older_than: float, destination: str, dry_run: bool) -> None:
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        self.age = int(older_than * DAY)
        self.destination = destination
        self.dry_run = dry_run
        self.store: Any = SqlAlchemyStore(database.URI, settings.current().artifact_root)  # type: ignore[no-untyped-call]
        self.registry: Any = Registry(database.URI)  # type: ignore[no-untyped-call]
        self.removed: set[str] = set()
        self.files = Removed()

    def say(self, what: str, verdict: str = "") -> None:
        """Prints one thing and what becomes of it."""
        verdict = verdict or ("would be removed" if self.dry_run else "removed")
        print(f"gc: {what}: {verdict}", flush=True)

    def registered(self, condition: str) -> str:
        """Returns the name of a registered version that the condition finds; empty when there is none."""
        found = self.registry.search_model_versions(condition, max_results=1)
        return f"{found[0].name} version {found[0].version}" if found else ""

    def by_place(self) -> dict[str, str]:
        """Returns the runs and models that registered versions come from, also by their files' address alone."""
        return Ownership.read(self.store.engine, self.destination).versions(self.store.engine, self.destination)

    def remove(self, what: str, uri: str, owner: str, forget: Any) -> None:
        """Removes the files of one thing, and then its rows."""
        # A model that was deleted before its run is found twice; a dry run leaves it to be found again.
        if owner in self.removed:
            return
        if not self.dry_run:
            files = remove_files(uri, owner, self.destination)
            if files is None:
                self.say(what, f"kept, because its files in {uri} may be others' too")
                return
            self.files += files
            forget(owner)
        self.removed.add(owner)
        self.say(what)

    def models(self, **of: Any) -> list[Any]:
        """Returns the logged models of a run (source_run_id) or an experiment (experiment_id), deleted or not."""
        from mlflow.store.tracking.dbmodels.models import SqlLoggedModel

        # The store's own search leaves out those that are marked as deleted.
        with self.store.ManagedSessionMaker() as session:
            return [model.to_mlflow_entity() for model in session.query(SqlLoggedModel).filter_by(**of)]

    def collect_models(self) -> None:
        """Removes models that were deleted by themselves."""
        by_place = self.by_place()
        for model_id in self.store._get_deleted_logged_models(older_than=self.age):
            model = self.store.get_logged_model(model_id, allow_deleted=True)
            if version := self.registered(f"source_path = 'models:/{model_id}'") or by_place.get(model_id):
                self.say(f"model {model_id}", f"kept, because {version} is this model")
            else:
                self.remove(
                    f"model {model_id}", model.artifact_location, model_id, self.store._hard_delete_logged_model
                )

    def collect_runs(self) -> None:
        """Removes runs with the models that they have logged."""
        by_place = self.by_place()
        for run_id in self.store._get_deleted_runs(older_than=self.age):
            run = self.store.get_run(run_id)
            what = f"run {run_id} ({run.info.run_name})"
            if version := self.registered(f"run_id = '{run_id}'") or by_place.get(run_id):
                self.say(what, f"kept, because {version} comes from it")
                continue
            for model in self.models(source_run_id=run_id):
                self.remove(
                    f"model {model.model_id} of run {run_id}",
                    model.artifact_location,
                    model.model_id,
                    self.store._hard_delete_logged_model,
                )
            self.remove(what, run.info.artifact_uri, run_id, self.store._hard_delete_run)

    def collect_experiments(self) -> None:
        """Removes experiments in which nothing is left."""
        from mlflow.entities import ViewType

        before = int(time.time() * 1000) - self.age
        deleted = pages(
            self.store.search_experiments,
            view_type=ViewType.DELETED_ONLY,
            filter_string=f"last_update_time <= {before}",
        )
        for experiment in list(deleted):
            place = [experiment.experiment_id]
            left = [
                *self.store.search_runs(place, "", ViewType.ALL, max_results=1),
                *self.models(experiment_id=int(experiment.experiment_id)),
            ]
            what = f"experiment {experiment.experiment_id} ({experiment.name})"
            if left:
                self.say(
                    what, "would be removed once its runs and models are" if self.dry_run else "kept: not empty yet"
                )
            else:
                uri = experiment.artifact_location
                self.remove(what, uri, experiment.experiment_id, self.store._hard_delete_experiment)


def main() -> None:
    """Collects, and says what it did; exits with status 1 and one line when the storage refuses."""
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        sys.argv = sys.argv[1:]
        import_module(f"replica_server.commands.{sys.argv[0]}").main()
        return
    parser = argparse.ArgumentParser(
        prog="gc",
        description="Removes for good what was deleted in MLflow.",
        epilog=f"The other commands: {', '.join(f'gc {name} --help' for name in OTHERS)}.",
    )
    parser.add_argument(
        "--older-than", type=days, default=30.0, metavar="DAYS", help="days since the deletion (default: 30)"
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be removed, and remove nothing")
    options = parser.parse_args()
    # The lock lasts as long as the connection.
    destination, _connection = begin("gc", lock_needed=not options.dry_run)
    collection = Collection(options.older_than, destination, options.dry_run)
    try:
        collection.collect_models()
        collection.collect_runs()
        collection.collect_experiments()
    except RemovalError as error:
        sys.exit(f"gc: error: {error}; what was not removed is still there, and can be restored")
    date = datetime.fromtimestamp(time.time() - collection.age / 1000, UTC)
    found = "would be removed" if options.dry_run else "removed"
    files = f"; files, older versions included: {collection.files.versions:,}, {collection.files.size:,} bytes"
    print(
        f"gc: {len(collection.removed)} {found} of what was deleted before {date:%Y-%m-%d %H:%M} UTC"
        f"{'' if options.dry_run else files}"
    )
