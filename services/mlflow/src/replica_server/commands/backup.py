"""Takes snapshots of database and artifacts into the folder at /backup, or a bucket, and puts their artifacts back.

`scripts/backup` and `scripts/restore` run it, as the user who starts them. The database goes back by `scripts/restore`
itself, which exchanges it under the running server.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from replica_server import database, settings, stack_record
from replica_server.artifacts.destination import read_destination
from replica_server.artifacts.stored_objects import BackedUp
from replica_server.backups import lock, manifest
from replica_server.backups.bucket import BackupBucket
from replica_server.backups.bucket_clients import check_apart, open_store
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import DUMP, BackupFolder
from replica_server.backups.restoration import Restoration, check_database, read_users
from replica_server.backups.snapshot import take_snapshot
from replica_server.commands.migrate import current_revision
from replica_server.text import one_line, printable
from replica_server.version import VERSION, is_newer

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

FOLDER = Path("/backup")
# Of a bucket: what is on its way, and manifests.
WORK = Path("/var/tmp/mlflow")  # noqa: S108 - a volume
SETTING = "BACKUP_ARTIFACTS"


def copies(destination: str) -> bool:
    """Returns whether contents are copied: where nothing else is said, those of MinIO, and not those of a bucket."""
    setting = os.environ.get(SETTING) or ("list" if destination.startswith("gs://") else "copy")
    if setting not in ("copy", "list"):
        raise BackupError(f"{SETTING} is {setting}: it can be copy or list")
    return setting == "copy"


def open_database() -> "connection":
    """Returns a connection whose statements are each a transaction."""
    database.open_password_file(settings.current().password_file)
    opened = database.connect()
    opened.autocommit = True
    return opened


def run_take(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:
    """Takes a snapshot, and then removes the oldest."""
    copying = copies(repository.artifact_uri)
    users = sys.stdin.buffer.read() if options.users else b""
    opened = open_database()
    if not lock.take(opened):
        raise BackupError(lock.OTHERS)
    with opened.cursor() as cursor:
        record = stack_record.read(cursor)
        schema = current_revision(cursor) or ""

    def check() -> None:
        if not lock.is_held(opened):
            raise BackupError(lock.LOST)

    print(take_snapshot(folder, repository, record.id, VERSION, schema, copying, check, users), flush=True)
    if options.keep:
        for name in folder.prune(options.keep):
            print(f"{name}: removed")


def is_used(cursor: "cursor") -> bool:
    """Tells whether the database holds runs or models."""
    if current_revision(cursor) is None:
        return False
    cursor.execute("SELECT EXISTS (SELECT FROM runs) OR EXISTS (SELECT FROM registered_models)")
    return cursor.fetchone() == (True,)


def check_stack(header: manifest.Header, other: bool) -> None:
    """Raises BackupError when the snapshot is another stack's, and this one is in use."""
    with open_database().cursor() as cursor:
        if not other and is_used(cursor) and stack_record.read(cursor).id != header.stack:
            raise BackupError(
                "this is the backup of another stack, and this one holds runs or models: nothing was changed"
                " (--other replaces them)"
            )


def run_restore(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:
    """Checks a whole snapshot, and puts its artifacts back."""
    snapshot = folder.snapshot(options.snapshot, with_dump=True)
    header = manifest.read_header(snapshot)
    if is_newer(header.version):
        raise BackupError(
            f"{snapshot.name} was written by version {header.version} of this stack, and these files are {VERSION}:"
            " nothing was changed"
        )
    check_stack(header, options.other)
    check_database(snapshot, header)
    read_users(snapshot, header)
    restoration = Restoration(folder, snapshot, repository)
    missing = {artifact.name for artifact in restoration.missing()}
    if missing and not options.incomplete:
        raise BackupError(
            f"{len(missing):,} artifacts are missing or damaged, {min(missing)} for one: nothing was changed"
            " (--incomplete restores the others, and lists these)"
        )
    done = restoration.put_back(missing)
    for name in sorted(missing):
        print(f"missing: {printable(name)}")
    for name in done.kept:
        print(f"kept, because no name can be written again (ARTIFACT_OVERWRITE): {printable(name)}")
    print(f"artifacts: {done.written:,} put back, {done.same:,} are there already", flush=True)


def run_compare(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:
    """Reads every artifact of a snapshot out of the storage, and compares it."""
    snapshot = folder.snapshot(options.snapshot)
    different = [artifact.name for artifact in Restoration(folder, snapshot, repository).differences()]
    if different:
        raise BackupError(
            f"{len(different):,} artifacts of {snapshot.name} are not in the storage, {different[0]} for one"
        )
    count = sum(1 for _ in manifest.read_artifacts(snapshot))
    print(f"{count:,} artifacts are in the storage as in {snapshot.name}")


def run_kind(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:  # noqa: ARG001
    """Says whether a snapshot holds the artifacts' contents."""
    print("copied" if manifest.read_header(folder.snapshot(options.snapshot)).copied else "listed")


def run_newest(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:  # noqa: ARG001
    """Names the newest snapshot."""
    if not (name := folder.newest()):
        raise BackupError(f"there is no backup in {options.bucket or 'the folder'}")
    print(name)


def run_dump(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:  # noqa: ARG001
    """Writes a snapshot's database to the standard output."""
    snapshot = folder.snapshot(options.snapshot, with_dump=True)
    check_database(snapshot, manifest.read_header(snapshot))
    with (snapshot / DUMP).open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def run_users(folder: BackupFolder, repository: BackedUp, options: argparse.Namespace) -> None:  # noqa: ARG001
    """Writes a snapshot's users of the proxy to the standard output."""
    snapshot = folder.snapshot(options.snapshot, with_dump=True)
    sys.stdout.buffer.write(read_users(snapshot, manifest.read_header(snapshot)))


def place_of(bucket: str | None, destination: str) -> BackupFolder:
    """Returns where the backups are."""
    if not bucket:
        return BackupFolder(FOLDER)
    check_apart(bucket, destination)
    return BackupBucket(open_store(bucket), WORK)


def parse() -> argparse.Namespace:
    """Returns the command and its options."""
    parser = argparse.ArgumentParser(prog="backup", description="Backs up database and artifacts.")
    parser.add_argument("--bucket", help="the bucket with the backups, s3://… or gs://…, instead of the folder")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    taking = commands.add_parser("take", help="take a snapshot")
    taking.add_argument("--keep", type=int, help="remove all but the newest of this number")
    taking.add_argument("--users", action="store_true", help="read the proxy's users from the standard input")
    taking.set_defaults(run=run_take)
    restoring = commands.add_parser("restore", help="put a snapshot's artifacts back")
    restoring.add_argument("snapshot")
    restoring.add_argument("--other", action="store_true", help="also another stack's, over this one's")
    restoring.add_argument("--incomplete", action="store_true", help="without the artifacts that are missing")
    restoring.set_defaults(run=run_restore)
    kind = commands.add_parser("kind", help="say whether a snapshot's artifacts are copied or listed")
    kind.add_argument("snapshot")
    kind.set_defaults(run=run_kind)
    comparing = commands.add_parser("compare", help="compare the storage with a snapshot")
    comparing.add_argument("snapshot")
    comparing.set_defaults(run=run_compare)
    newest = commands.add_parser("newest", help="name the newest snapshot")
    newest.set_defaults(run=run_newest)
    dumping = commands.add_parser("dump", help="print a snapshot's database")
    dumping.add_argument("snapshot")
    dumping.set_defaults(run=run_dump)
    users = commands.add_parser("users", help="print a snapshot's users of the proxy")
    users.add_argument("snapshot")
    users.set_defaults(run=run_users)
    return parser.parse_args()


def main() -> None:
    """Runs the command; exits with status 1 and one line when it cannot be done."""
    import psycopg2

    options = parse()
    repository = cast("BackedUp", get_artifact_repository(read_destination()))
    try:
        options.run(place_of(options.bucket, repository.artifact_uri), repository, options)
    except (BackupError, MlflowException) as error:
        sys.exit(f"backup: error: {printable(str(error))}")
    except psycopg2.Error as error:
        sys.exit(f"backup: error: the database refuses, or is gone: {one_line(str(error))}")
    except OSError as error:
        where = Path(error.filename).name if error.filename else "the folder"
        sys.exit(f"backup: error: {where}: {error.strerror or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit("backup: error: interrupted; the next backup goes on from here")
