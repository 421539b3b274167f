"""services/mlflow: gc.py: what a large collection costs. The rest needs a storage (tests/integration/test_gc.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replica_server import database
from replica_server.commands import gc
from sqlalchemy import event


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gc.Collection:
    monkeypatch.setattr(database, "URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "mlflow-artifacts:/")
    return gc.Collection(0, "s3://bucket/", dry_run=True)


def delete_runs(store: Any, count: int) -> list[str]:
    """Makes runs with a model each, and deletes both; returns the ids of all."""
    ids = []
    for _ in range(count):
        run_id = store.create_run("0", "someone", 1, [], "run").info.run_id
        model_id = store.create_logged_model("0", "model", run_id).model_id
        store.delete_logged_model(model_id)
        store.delete_run(run_id)
        ids += [run_id, model_id]
    return ids


def test_cost_of_a_run_is_constant(collection: gc.Collection) -> None:
    """Each run costs the same however many models are deleted."""
    statements: list[str] = []
    engine = collection.store.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement))
    costs, made = [], []
    for runs in (1, 2, 4):
        made += delete_runs(collection.store, runs)
        statements.clear()
        collection.removed.clear()
        collection.collect_runs()
        assert collection.removed == set(made)
        costs.append(len(statements))
    # 1, 3 and 7 runs.
    assert costs[2] - costs[1] == 2 * (costs[1] - costs[0])


def test_deleted_experiment_ends_empty(collection: gc.Collection, capsys: pytest.CaptureFixture[str]) -> None:
    """A deleted experiment is empty once its runs and models are gone."""
    store = collection.store
    tracked, full, empty = (store.create_experiment(name) for name in ("tracked", "full", "empty"))
    store.create_run(tracked, "someone", 1, [], "run")
    store.delete_logged_model(store.create_logged_model(full, "model").model_id)
    for experiment in (tracked, full, empty):
        store.delete_experiment(experiment)
    collection.collect_experiments()
    assert collection.removed == {empty}
    said = capsys.readouterr().out
    for name in ("tracked", "full"):
        assert f"({name}): would be removed once its runs and models are" in said


def test_recently_deleted_things_are_kept(collection: gc.Collection) -> None:
    """What was deleted more recently than said is kept."""
    experiment = collection.store.create_experiment("deleted")
    deleted = delete_runs(collection.store, 1)
    collection.store.delete_experiment(experiment)
    for age, found in ((gc.DAY, set()), (0, {*deleted, experiment})):
        collection.age = age
        collection.collect_models()
        collection.collect_runs()
        collection.collect_experiments()
        assert collection.removed == found


def test_what_an_address_registered_stays(collection: gc.Collection, capsys: pytest.CaptureFixture[str]) -> None:
    """A version may name its files alone, without a run: those of a run, of a run's model, and of a model."""
    store, registry = collection.store, collection.registry
    runs = [store.create_run("0", "someone", 1, [], "run").info for _ in range(2)]
    models = [store.create_logged_model("0", "model", run_id) for run_id in (runs[1].run_id, None)]
    registry.create_registered_model("named")
    for source in (f"{runs[0].artifact_uri}/model", *(model.artifact_location for model in models)):
        registry.create_model_version("named", source)
    for run in runs:
        store.delete_run(run.run_id)
    for model in models:
        store.delete_logged_model(model.model_id)
    collection.collect_models()
    collection.collect_runs()
    said = capsys.readouterr().out
    assert collection.removed == set()
    for number in (1, 2, 3):
        assert f"kept, because named version {number} " in said
