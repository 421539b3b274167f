"""Deletes the runs that the rules of the housekeeping file do not keep, as MLflow does: `gc` removes them later.

docker compose run --rm gc retention --dry-run
"""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from mlflow.exceptions import MlflowException

from replica_server import database, settings
from replica_server.commands.deletion import begin
from replica_server.housekeeping import retention, rules
from replica_server.housekeeping.ownership import Ownership
from replica_server.text import printable

if TYPE_CHECKING:
    from replica_server.artifacts.stored_objects import BackedUp


def day(milliseconds: int | None) -> str:
    """Returns a date."""
    return f"{datetime.fromtimestamp((milliseconds or 0) / 1000, UTC):%Y-%m-%d}"


def apply(store: Any, repository: "BackedUp", said: rules.Rules, dry_run: bool) -> None:
    """Deletes the runs, or lists what would go, and sums up."""
    destination = repository.artifact_uri
    owners = Ownership.read(store.engine, destination)
    sizes: dict[str, int] = {}
    for owner, amount in owners.amounts(repository.objects()).items():
        # A model's files are gone with the run that has logged it.
        run_id = owners.model_runs.get(owner, owner)
        sizes[run_id] = sizes.get(run_id, 0) + amount.size
    verdict = "would be deleted" if dry_run else "deleted"
    count = size = 0
    kept: dict[str, int] = {}
    for choice in retention.choose(store.engine, said, owners.registered(store.engine, destination)):
        for run in choice.doomed:
            if not dry_run:
                store.delete_run(run.id)
            bytes_ = sizes.get(run.id, 0)
            what = f"run {run.id} ({printable(run.name)}) of {printable(choice.experiment)}"
            print(f"retention: {what}, ended {day(run.ended)}, {bytes_:,} bytes: {verdict}", flush=True)
            count, size = count + 1, size + bytes_
        for reason, number in choice.kept.items():
            kept[reason] = kept.get(reason, 0) + number
    stay = ", ".join(f"{number:,} {reason}" for reason, number in kept.items())
    later = "" if dry_run or not count else "; gc removes them for good once they have been deleted for 30 days"
    print(f"retention: {count:,} runs with {size:,} bytes {verdict}; kept: {stay or 'none'}{later}")


def main() -> None:
    """Applies the rules; exits with status 1 and one line when there are none, or the file or the storage fails."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    parser = argparse.ArgumentParser(prog="gc retention", description="Deletes runs by the housekeeping file's rules.")
    parser.add_argument("--dry-run", action="store_true", help="list what would be deleted, and delete nothing")
    options = parser.parse_args()
    try:
        said = rules.read()
    except rules.RulesError as error:
        sys.exit(f"retention: error: {error}; nothing was deleted")
    if not said.retention:
        sys.exit(f"retention: error: no rules: {rules.SETTING} names the file that has them ({rules.PAGE})")
    destination, opened = begin("retention", lock_needed=False)
    opened.close()
    store = SqlAlchemyStore(database.URI, settings.current().artifact_root)  # type: ignore[no-untyped-call]
    try:
        apply(store, cast("BackedUp", get_artifact_repository(destination)), said, options.dry_run)
    except MlflowException as error:
        sys.exit(f"retention: error: {printable(str(error))}; what is not listed above was not deleted")
