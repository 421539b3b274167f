"""How much each experiment and each user has stored: bytes, runs and models."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from replica_server.artifacts.stored_objects import StoredObject
from replica_server.housekeeping.ownership import Ownership, rows
from replica_server.housekeeping.rules import UNITS, Limits

if TYPE_CHECKING:
    from sqlalchemy import Engine

# With a login, or a client that says so, the tag has the user's name.
RUNS = """
    SELECT runs.run_uuid, experiments.name, COALESCE(NULLIF(people.value, ''), NULLIF(runs.user_id, ''), 'unknown'),
        runs.lifecycle_stage = 'active'
    FROM runs JOIN experiments ON experiments.experiment_id = runs.experiment_id
    LEFT JOIN tags AS people ON people.run_uuid = runs.run_uuid AND people.key = 'mlflow.user'
"""
MODELS = """
    SELECT logged_models.model_id, experiments.name, logged_models.source_run_id,
        logged_models.lifecycle_stage = 'active'
    FROM logged_models JOIN experiments ON experiments.experiment_id = logged_models.experiment_id
"""
NOBODY = ""


@dataclass
class Used:
    """What someone has stored.

    Attributes:
        bytes: The bytes of artifacts, those of deleted runs and models included.
        deleted_bytes: The bytes of deleted runs and models among them, which `gc` frees.
        runs: Runs that are not deleted.
        models: Logged models that are not deleted.
    """

    bytes: int = 0
    deleted_bytes: int = 0
    runs: int = 0
    models: int = 0

    def add(self, size: int, active: bool, runs: int = 0, models: int = 0) -> None:
        """Counts a run or a model."""
        self.bytes += size
        if active:
            self.runs += runs
            self.models += models
        else:
            self.deleted_bytes += size


class Usage:
    """The numbers.

    Attributes:
        total: Of all.
        experiments: By the experiments' names.
        users: By the users' names; models count for whoever made the run that has logged them.
    """

    def __init__(self) -> None:
        self.total = Used()
        self.experiments: dict[str, Used] = {}
        self.users: dict[str, Used] = {}

    def _count(self, experiment: str, user: str, size: int, active: bool, **what: int) -> None:
        self.total.add(size, active, **what)
        self.experiments.setdefault(experiment, Used()).add(size, active, **what)
        self.users.setdefault(user, Used()).add(size, active, **what)

    @classmethod
    def read(cls, engine: "Engine", destination: str, objects: Iterable[StoredObject]) -> "Usage":
        """Reads the storage's list and the database."""
        usage = cls()
        amounts = Ownership.read(engine, destination).amounts(objects)
        sizes = {owner: amount.size for owner, amount in amounts.items()}
        authors = {}
        for run_id, experiment, user, active in rows(engine, RUNS):
            authors[run_id] = user
            usage._count(experiment, user, sizes.pop(run_id, 0), bool(active), runs=1)
        for model_id, experiment, run_id, active in rows(engine, MODELS):
            user = authors.get(run_id, "unknown")
            usage._count(experiment, user, sizes.pop(model_id, 0), bool(active), models=1)
        if size := sum(sizes.values()):
            # Traces, artifacts without a row, and what came since the database was read.
            usage._count(NOBODY, NOBODY, size, True)
        return usage

    def warnings(self, limits: Limits) -> Iterator[str]:
        """Yields a line for each limit that is exceeded."""
        if limits.total is not None and self.total.bytes > limits.total:
            yield f"all artifacts take {readable(self.total.bytes)}, and the limit is {readable(limits.total)}"
        for kind, limit, parts in (
            ("experiment", limits.experiment, self.experiments),
            ("user", limits.user, self.users),
        ):
            for name, used in largest(parts):
                if limit is not None and name != NOBODY and used.bytes > limit:
                    yield f"the {kind} {name} takes {readable(used.bytes)}, and the limit is {readable(limit)}"

    def as_json(self) -> dict[str, Any]:
        """Returns the numbers as JSON has them; a null name has what is no run's and no model's."""
        return {
            "total": asdict(self.total),
            "experiments": [{"name": name or None, **asdict(used)} for name, used in largest(self.experiments)],
            "users": [{"name": name or None, **asdict(used)} for name, used in largest(self.users)],
        }


def largest(parts: dict[str, Used]) -> list[tuple[str, Used]]:
    """Returns the parts, the largest first."""
    return sorted(parts.items(), key=lambda part: (-part[1].bytes, part[0]))


def readable(size: int) -> str:
    """Returns a size as people read it."""
    for unit, factor in reversed(UNITS.items()):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
