"""Runs in the server's container: stores the same by MLflow's store as it comes and by this stack's, and compares.

Prints how many batches were compared, and what differed, as JSON. Each batch goes to a run of its own in either way,
on the same PostgreSQL. What it does is decided by a seed, so that a difference can be looked into.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, "/opt/replica-server")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as _SqlAlchemyStore
from replica_server import database
from replica_server.patches import metric_rows, new_runs
from sqlalchemy import text

SqlAlchemyStore: Any = _SqlAlchemyStore
NOW = 1_790_000_000_000
VALUES = [0.0, -0.0, 1.0, 0.1, 5e-324, -1.5, 1.7976931348623157e308, *map(float, ("nan", "inf", "-inf"))]
NAMES = ["loss", "a/b", "a b", "Größe", "x.y-z_1:2", "NULL", "k" * 250]
UNUSABLE = ["", "k" * 251, "../up", 'a"b', "a,b", "{a}"]
TABLES = {
    "metrics": "key, value, timestamp, step, is_nan",
    "latest_metrics": "key, value, timestamp, step, is_nan",
    "params": "key, value",
    "tags": "key, value",
}
RUN = """
name, user_id, status, start_time, end_time, source_type, source_name, source_version, entry_point_name, deleted_time
"""


def some_metrics(rng: random.Random) -> list[Metric]:
    """Returns metrics of which some are equal, some of the same step, and now and then one that is refused."""
    names = rng.sample(NAMES, rng.randint(1, len(NAMES)))
    found = [
        Metric(rng.choice(names), rng.choice(VALUES), NOW + rng.randint(0, 2), rng.randint(-1, 2))
        for _ in range(rng.choice([0, 1, 2, 5, 40]))
    ]
    if rng.random() < 0.1:
        found.append(Metric(rng.choice(UNUSABLE), 1.0, NOW, 0))
    if rng.random() < 0.05:
        found.append(Metric("loss", 1.0, -1, 0))
    if rng.random() < 0.05:
        found += [Metric("loss", float(step), NOW, step) for step in range(1001)]
    return found


def some_pairs(rng: random.Random, kind: Any, values: list[str]) -> list[Any]:
    """Returns parameters or tags: often none."""
    return [kind(rng.choice("abc"), rng.choice(values)) for _ in range(rng.choice([0, 0, 0, 1, 2]))]


def outcome(act: Callable[[], object]) -> str:
    """Returns what MLflow says of a call; empty when it works."""
    try:
        act()
    except MlflowException as error:
        return f"{error.error_code}: {error.message}"
    return ""


def rows(store: Any, run_id: str) -> dict[str, Any]:
    """Returns what the database holds of a run."""
    with store.engine.connect() as connection:

        def ask(columns: str, table: str) -> list[str]:
            statement = text(f"SELECT {columns} FROM {table} WHERE run_uuid = :run")  # noqa: S608 - names of this file
            return sorted(map(repr, connection.execute(statement, {"run": run_id}).fetchall()))

        return {table: ask(columns, table) for table, columns in TABLES.items()}


def log(store: Any, run_id: str, *batch: list[Any]) -> str:
    """Returns what a store says of a batch of metrics, parameters and tags."""
    return outcome(lambda: store.log_batch(run_id, *batch)).replace(run_id, "RUN")


def batches(stores: tuple[Any, Any], experiment: str, rng: random.Random) -> list[str]:
    """Returns how two stores differ after the same batches to a run each; empty when they do not."""
    made = [(store, store.create_run(experiment, "someone", NOW, [], "run").info.run_id) for store in stores]
    for _ in range(rng.randint(1, 4)):
        batch = some_metrics(rng), some_pairs(rng, Param, ["1", "2"]), some_pairs(rng, RunTag, ["x", "y"])
        said = [log(store, run_id, *batch) for store, run_id in made]
        if said[0] != said[1]:
            return [f"MLflow says {said[0]!r}, this stack {said[1]!r}"]
    for store, run_id in made:
        # It goes through the same method.
        store.log_metric(run_id, Metric("loss", float("nan"), NOW + 9, 9))
    kept = [rows(store, run_id) for store, run_id in made]
    return [
        f"{name}: {sorted({*kept[0][name]} ^ {*kept[1][name]})}" for name in TABLES if kept[0][name] != kept[1][name]
    ]


def made_run(store: Any, run_id: str, entity: Any, named: bool) -> list[str]:
    """Returns what a run is: as it was answered, as it is read again, and as the database holds it."""
    read = store.get_run(run_id)
    with store.engine.connect() as connection:
        row = connection.execute(text(f"SELECT {RUN} FROM runs WHERE run_uuid = :run"), {"run": run_id}).one()  # noqa: S608
    answers = [json.dumps(one.to_dictionary(), sort_keys=True) for one in (entity, read)]
    shown = [one.replace(run_id, "RUN") for one in (*answers, repr(row), repr(rows(store, run_id)))]
    # Without a name, MLflow makes one up.
    return shown if named else [one.replace(entity.info.run_name, "NAME") for one in shown]


def runs(stores: tuple[Any, Any], experiment: str, rng: random.Random) -> list[str]:
    """Returns how two stores differ in the run that they make; empty when they do not."""
    names = ["", "name", "n" * 250, "n" * 251, "Größe"]
    keys = ["a", "b", "mlflow.runName"]
    tags = [RunTag(rng.choice(keys), rng.choice([*names, "x" * 8001])) for _ in range(rng.randint(0, 3))]
    place = rng.choice([experiment, experiment, experiment, "", f"0{experiment}", "99999", "letters", " 1"])
    name, user, start = rng.choice(names), rng.choice(["", "someone"]), rng.choice([0, NOW])
    named = any([name, *(tag.value for tag in tags if tag.key == keys[-1])])
    seen: list[list[str]] = []
    for store in stores:
        made: list[Any] = []
        said = outcome(lambda s=store, m=made: m.append(s.create_run(place, user, start, list(tags), name)))  # type: ignore[misc]
        if made:
            seen.append(made_run(store, made[0].info.run_id, made[0], named))
        else:
            # The statement, which MLflow shows, is another one.
            seen.append(re.findall(r"psycopg2.errors.[^[]*", re.sub(r"[0-9a-f]{32}", "ID", said)) or [said])
    return [] if seen[0] == seen[1] else [f"MLflow {seen[0]}, this stack {seen[1]}"]


def refused(stores: tuple[Any, Any], experiment: str) -> list[str]:
    """Returns how two stores differ in what they say of runs that are deleted, or not there."""
    batch = [Metric("a", 1.0, NOW, 0)], list[Any](), list[Any]()
    said = [[log(store, run_id, *batch) for run_id in ("0" * 32, "odd", "")] for store in stores]
    for store, found in zip(stores, said, strict=True):
        run_id = store.create_run(experiment, "", NOW, [], "gone").info.run_id
        store.delete_run(run_id)
        found.append(log(store, run_id, *batch))
    return [] if said[0] == said[1] and all(said[0]) else [f"MLflow {said[0]}, this stack {said[1]}"]


def main() -> None:
    """Compares, and prints."""
    seed, count = int(os.environ["SEED"]), int(os.environ["COUNT"])
    database.open_password_file(Path(os.environ["POSTGRES_PASSWORD_FILE"]))
    theirs = SqlAlchemyStore(database.URI, "mlflow-artifacts:/")

    class Ours(SqlAlchemyStore):  # type: ignore[misc]
        """MLflow's store with what replaces its methods; the one above keeps its own."""

    replaced = {name: vars(SqlAlchemyStore)[name] for name in ("log_batch", "_log_metrics_once", "create_run")}
    metric_rows.apply()
    new_runs.apply()
    for name, method in replaced.items():
        setattr(Ours, name, vars(SqlAlchemyStore)[name])
        setattr(SqlAlchemyStore, name, method)
    stores = theirs, Ours(database.URI, "mlflow-artifacts:/")
    experiment = theirs.create_experiment(f"both ways {time.time_ns()}")
    differences = refused(stores, experiment)
    for number in range(seed, seed + count):
        rng = random.Random(number)  # noqa: S311 - nothing secret
        found = batches(stores, experiment, rng) + runs(stores, experiment, rng)
        differences += [f"seed {number}: {one[:1500]}" for one in found]
    print(json.dumps({"compared": count, "differences": differences[:5]}))


main()
