"""Shows how much each experiment and user has stored, and warns where that is over a limit.

docker compose run --rm usage
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING, cast

import sqlalchemy
from mlflow.exceptions import MlflowException

from replica_server import database, settings
from replica_server.artifacts.destination import read_destination
from replica_server.housekeeping import rules
from replica_server.housekeeping.usage import Usage, Used, largest, readable
from replica_server.text import one_line, printable

if TYPE_CHECKING:
    from replica_server.artifacts.stored_objects import BackedUp

# A longer name is cut in the table; --json has it whole.
WIDTH = 40


def table(heading: str, parts: list[tuple[str, Used]]) -> None:
    """Prints a table, the largest first."""
    names = [(printable(name) or "(no run, no model)")[:WIDTH] for name, _ in parts]
    width = max(map(len, (heading, *names)))
    print(f"{heading:{width}}  {'size':>9}  {'deleted':>9}  {'runs':>7}  {'models':>7}")
    for name, (_, used) in zip(names, parts, strict=True):
        sizes = f"{readable(used.bytes):>9}  {readable(used.deleted_bytes):>9}"
        print(f"{name:{width}}  {sizes}  {used.runs:>7,}  {used.models:>7,}")


def main() -> None:
    """Prints the numbers; exits with status 1 and one line when the file, the storage or the database fails."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    parser = argparse.ArgumentParser(prog="usage", description="What each experiment and user has stored.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args()
    try:
        limits = rules.read().limits
    except rules.RulesError as error:
        sys.exit(f"usage: error: {error}")
    repository = cast("BackedUp", get_artifact_repository(read_destination()))
    database.open_password_file(settings.current().password_file)
    database.connect().close()
    try:
        usage = Usage.read(sqlalchemy.create_engine(database.URI), repository.artifact_uri, repository.objects())
    except MlflowException as error:
        sys.exit(f"usage: error: {printable(str(error))}")
    except sqlalchemy.exc.SQLAlchemyError as error:
        sys.exit(f"usage: error: the database refuses, or is gone: {one_line(str(error))}")
    warnings = [printable(warning) for warning in usage.warnings(limits)]
    if options.json:
        print(json.dumps({**usage.as_json(), "warnings": warnings}, indent=2))
    else:
        table("experiment", largest(usage.experiments))
        print()
        table("user", largest(usage.users))
        print()
        table("in all", [("total", usage.total)])
    for warning in warnings:
        print(f"usage: warning: {warning}", file=sys.stderr)
