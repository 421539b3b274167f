"""Whose a stored object is: a run's or a logged model's, by where their artifacts are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import text

from replica_server.artifacts.addresses import PROXIED, translated
from replica_server.artifacts.stored_objects import StoredObject

if TYPE_CHECKING:
    from sqlalchemy import Engine

RUNS = "SELECT run_uuid, artifact_uri FROM runs"
MODELS = "SELECT model_id, artifact_location, source_run_id FROM logged_models"
# A deleted version keeps its row for a while, without its name.
VERSIONS = """
    SELECT name, version, source, storage_location, run_id FROM model_versions
    WHERE current_stage <> 'Deleted_Internal' ORDER BY name, version
"""
AT_A_TIME = 1000


def rows(engine: "Engine", statement: str, **values: Any) -> Iterator[Any]:
    """Yields what a statement finds, without holding all of it."""
    with engine.connect() as connection:
        yield from connection.execution_options(yield_per=AT_A_TIME).execute(text(statement), values)


def place_of(uri: str | None, destination: str) -> str:
    """Returns where below the storage's address an artifact address leads; empty for one that leads elsewhere."""
    uri = uri or ""
    root = destination.rstrip("/") + "/"
    if urlsplit(uri).scheme == PROXIED:
        uri = translated(uri, destination)
    return uri.removeprefix(root).rstrip("/") if uri.startswith(root) else ""


@dataclass
class Amount:
    """How much is stored.

    Attributes:
        objects: The number of objects.
        size: Their bytes.
    """

    objects: int = 0
    size: int = 0

    def add(self, stored: StoredObject) -> None:
        """Counts an object."""
        self.objects += 1
        self.size += stored.size


@dataclass
class Ownership:
    """The places of runs and models.

    Attributes:
        places: The id of whoever keeps artifacts at a place.
        model_runs: The runs that have logged the models, by the models' ids.
    """

    places: dict[str, str] = field(default_factory=dict)
    model_runs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, engine: "Engine", destination: str) -> "Ownership":
        """Reads the places out of the database."""
        found = cls()
        for run_id, uri in rows(engine, RUNS):
            if place := place_of(uri, destination):
                found.places[place] = run_id
        for model_id, uri, run_id in rows(engine, MODELS):
            if place := place_of(uri, destination):
                found.places[place] = model_id
            if run_id:
                found.model_runs[model_id] = run_id
        return found

    def owner(self, name: str) -> str:
        """Returns the id of the run or model an object, or a folder, belongs to; empty where there is none."""
        while name:
            if found := self.places.get(name):
                return found
            name = name.rpartition("/")[0]
        return ""

    def amounts(self, objects: Iterable[StoredObject]) -> dict[str, Amount]:
        """Returns how much each run and model has stored; under an empty id what belongs to none."""
        found: dict[str, Amount] = {}
        for stored in objects:
            found.setdefault(self.owner(stored.name), Amount()).add(stored)
        return found

    def registered(self, engine: "Engine", destination: str) -> set[str]:
        """Returns the runs and models that a registered version comes from: by its row, or by where its files are."""
        return set(self.versions(engine, destination))

    def versions(self, engine: "Engine", destination: str) -> dict[str, str]:
        """Returns the same, each with one of the versions: `purchase_predict version 3`."""
        found: dict[str, str] = {}
        for name, version, source, location, run_id in rows(engine, VERSIONS):
            owners = {self.owner(place_of(uri, destination)) for uri in (source, location)}
            if urlsplit(source or "").scheme == "models":
                owners.add(urlsplit(source).path.strip("/"))
            for owner in {run_id or ""} | owners | {self.model_runs.get(owner, "") for owner in owners}:
                found.setdefault(owner, f"{name} version {version}")
        found.pop("", None)
        return found
