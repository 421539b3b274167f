"""Orphans: artifacts of runs that no row knows, and rows whose artifacts are not there.

The storage is listed before the database is read: a client makes the row of a run, a model or a trace before it
stores an artifact of it, so whatever was listed has its row by then. A row whose artifacts seem to be missing is looked
at once more, because they may have come after the list.

Another stack may have a subfolder of the same bucket. What is not in the folder of an experiment is not this stack's to
judge: it is counted, and neither listed nor removed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from replica_server.artifacts.stored_objects import StoredObject
from replica_server.housekeeping.ownership import VERSIONS, Amount, place_of, rows

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from replica_server.artifacts.stored_objects import BackedUp

# MLflow keeps the artifacts of a run, a model and a trace in a folder of this name below one that is called by the id,
# in the experiment's folder: the first group.
_ID = "[0-9a-f]{32}"
LAYOUT = re.compile(rf"^(.*?)(?:^|/)(?:({_ID})|(?:models/)?(m-{_ID})|(?:traces/)?(tr-{_ID}))/artifacts/")
# Where MLflow puts an experiment for which no place was named, also one that `gc` has removed.
BY_ID = re.compile("[0-9]+")
EXPERIMENTS = "SELECT artifact_location FROM experiments"
IDS = (
    "SELECT run_uuid FROM runs",
    "SELECT model_id FROM logged_models",
    "SELECT request_id FROM trace_info",
)
READY = "SELECT model_id, artifact_location FROM logged_models WHERE status = :ready AND lifecycle_stage = 'active'"
ALIASES = "SELECT name, version, alias FROM registered_model_aliases"


def folder_of(name: str) -> tuple[str, str, str] | None:
    """Returns an experiment's folder, an id in it, and the folder of the id's artifacts, by the name of one of them."""
    found = LAYOUT.match(name)
    return found and (found[1], found[2] or found[3] or found[4], found[0][:-1])


def experiment_folders(engine: "Engine", destination: str) -> set[str]:
    """Returns where in the storage the experiments are that the database knows."""
    return {place_of(uri, destination) for (uri,) in rows(engine, EXPERIMENTS)}


@dataclass
class Listed:
    """What the storage holds.

    Attributes:
        folders: The folders of runs, models and traces, each with its owner's id and how much is in it.
        others: What is in none of them.
        foreign: What is in such a folder, but in no experiment's: another stack's, perhaps.
    """

    folders: dict[str, tuple[str, Amount]] = field(default_factory=dict)
    others: Amount = field(default_factory=Amount)
    foreign: Amount = field(default_factory=Amount)

    @classmethod
    def read(cls, objects: Iterable[StoredObject], experiments: set[str]) -> "Listed":
        """Reads the storage's list.

        Args:
            objects: The list.
            experiments: The experiments' folders.
        """
        listed = cls()
        for stored in objects:
            found = folder_of(stored.name)
            if found is None:
                listed.others.add(stored)
                continue
            experiment, owner, place = found
            if experiment in experiments or not experiment or BY_ID.fullmatch(experiment):
                _, amount = listed.folders.setdefault(place, (owner, Amount()))
                amount.add(stored)
            else:
                listed.foreign.add(stored)
        return listed


@dataclass(frozen=True)
class Lost:
    """A row whose artifacts are not there.

    Attributes:
        what: What it is, as it is said: `model m-…`, or `purchase_predict version 3`.
        model_id: The id of a logged model; empty for a registered version.
        name: The name of a registered version.
        version: Its number.
        alias: An alias that points to it; empty without one.
    """

    what: str
    model_id: str = ""
    name: str = ""
    version: int = 0
    alias: str = ""


def without_rows(engine: "Engine", destination: str, listed: Listed) -> dict[str, tuple[str, Amount]]:
    """Returns the folders whose owner no row knows, nor a registered version."""
    known = {name for statement in IDS for (name,) in rows(engine, statement)}
    used = set()
    for _, _, source, location, _ in rows(engine, VERSIONS):
        for uri in (source, location):
            # A version may be a folder of them, or below one.
            if found := folder_of(place_of(uri, destination) + "/"):
                used.add(found[1])
    return {place: found for place, found in listed.folders.items() if found[0] not in known | used}


def _repository(destination: str, place: str) -> "BackedUp":
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return cast("BackedUp", get_artifact_repository(f"{destination.rstrip('/')}/{place}"))


def _is_missing(destination: str, uri: str | None) -> bool:
    """Tells whether nothing is at an address of this storage's."""
    place = place_of(uri, destination)
    if not place or next(iter(_repository(destination, place).objects()), None) is not None:
        return False
    # A version may be one file, in which nothing is. It is listed: this identity may not read what it removes.
    folder, _, file = place.rpartition("/")
    return all(stored.name != file for stored in _repository(destination, folder).objects())


def without_objects(engine: "Engine", destination: str, listed: Listed, ready: int) -> Iterator[Lost]:
    """Yields registered versions and models whose artifacts are not there, the versions first.

    Args:
        engine: The database.
        destination: The storage's address.
        listed: What it holds.
        ready: The number by which MLflow says that a model is whole.
    """
    stored = {owner for owner, _ in listed.folders.values()}
    aliases = {(name, version): alias for name, version, alias in rows(engine, ALIASES)}
    for name, version, source, location, _ in list(rows(engine, VERSIONS)):
        if _is_missing(destination, location or source):
            alias = aliases.get((name, version), "")
            yield Lost(f"{name} version {version}", name=name, version=version, alias=alias)
    for model_id, uri in list(rows(engine, READY, ready=ready)):
        if model_id not in stored and _is_missing(destination, uri):
            yield Lost(f"model {model_id}", model_id=model_id)
