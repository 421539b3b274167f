"""services/mlflow: housekeeping/: what the file may say, which runs stay, what is an orphan, and what is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import LoggedModelStatus, Metric, RunStatus
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from replica_server.artifacts.stored_objects import StoredObject
from replica_server.commands import orphans as command
from replica_server.housekeeping import orphans, retention, rules
from replica_server.housekeeping.ownership import Ownership
from replica_server.housekeeping.retention import Run
from replica_server.housekeeping.rules import Rule
from replica_server.housekeeping.usage import Usage, readable

DESTINATION = "s3://bucket/mlflow"
DAY = retention.DAY
NOW = 1000 * DAY


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> str:
    return new_database(tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="module")
def store(database: str) -> Any:
    return SqlAlchemyStore(database, "mlflow-artifacts:/")  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def registry(database: str, store: Any) -> Any:
    return Registry(database)  # type: ignore[no-untyped-call]


@pytest.fixture
def experiment(store: Any, request: pytest.FixtureRequest) -> str:
    created: str = store.create_experiment(request.node.name)
    return created


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a housekeeping file, and reads it."""

    def write(text: str) -> rules.Rules:
        file = tmp_path / "housekeeping.yaml"
        file.write_text(text)
        return rules.read(file)

    return write


def run(name: str, ended: float = 0, metric: float | None = None, status: str = "FINISHED", parent: str = "") -> Run:
    """Returns a run that was started and ended on a day."""
    return Run(name, name, status, int(ended * DAY), int(ended * DAY), parent, metric)


def doomed(runs: list[Run], registered: tuple[str, ...] = (), **rule: Any) -> set[str]:
    """Returns the names of the runs that a rule lets go."""
    stay = retention.kept(runs, Rule(experiment="*", **rule), registered, NOW)
    return {one.id for one in runs} - set(stay)


# The file -------------------------------------------------------------------------------------------------------------


def test_file_says_rules_and_limits(written: Any) -> None:
    said = written(
        "retention:\n- {experiment: 'a*', keep_best: 2, metric: loss, better: lower}\n"
        "- {experiment: '*', older_than: 90}\n"
        "limits: {total: 1.5 TB, user: 20 GB}\n"
    )
    assert said.rule_of("abc").keep_best == 2
    assert said.rule_of("b").older_than == 90
    assert (said.limits.total, said.limits.experiment, said.limits.user) == (1_500_000_000_000, None, 20_000_000_000)


def test_empty_file_says_nothing(written: Any) -> None:
    assert written("") == written("# retention:\n") == rules.Rules()
    assert rules.Rules().rule_of("any") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retention: [{experiment: a, keep_best: 3}]", "retention 1: keep_best and metric go together"),
        ("retention: [{experiment: a}]", "retention 1: it keeps nothing: name keep_best, keep_latest or older_than"),
        ("retention: [{experiment: a, keep_latest: 0}]", "retention 1, keep_latest: Input should be greater than"),
        ("retention: [{experiment: a, keep_latest: '3'}]", "retention 1, keep_latest: Input should be a valid integer"),
        ("retention: [{experiment: a, older_then: 3}]", "retention 1, older_then: Extra inputs are not permitted"),
        ("retention: [{experiment: a, older_than: .nan}]", "retention 1, older_than: Input should be a finite number"),
        ("retention: [{keep_latest: 3}]", "retention 1, experiment: Field required"),
        ("retention: {experiment: a}", "retention: Input should be a valid tuple"),
        ("limits: {total: 5}", "limits, total: 5 is no size: 50 GB is one"),
        ("limits: {total: 5 GiB}", "limits, total: '5 GiB' is no size"),
        ("- a", "the file: Input should be a valid dictionary"),
        ("retention: [", "is no YAML: while parsing a flow node"),
    ],
)
def test_wrong_file_is_one_line(written: Any, text: str, message: str) -> None:
    with pytest.raises(rules.RulesError, match=r"^HOUSEKEEPING_FILE(:| is)") as caught:
        written(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(rules.RulesError, match=r"^HOUSEKEEPING_FILE cannot be read: Is a directory$"):
        rules.read(tmp_path)


# Retention ------------------------------------------------------------------------------------------------------------


def test_best_and_latest_stay() -> None:
    runs = [run("a", 1, 0.1), run("b", 2, 0.9), run("c", 3, float("nan")), run("d", 4), run("e", 5, 0.5), run("f", 6)]
    assert doomed(runs, keep_best=2, metric="x", keep_latest=1) == {"a", "c", "d"}
    assert doomed(runs, keep_best=1, metric="x", better="lower") == {"b", "c", "d", "e", "f"}
    assert doomed(runs, keep_latest=9) == set()


def test_young_registered_and_running_stay() -> None:
    old, young = NOW / DAY - 11, NOW / DAY - 9
    runs = [run("old", old), run("model", old), run("now", old, status="RUNNING"), run("young", young)]
    assert doomed(runs, registered=("model",), older_than=10) == {"old"}
    assert doomed(runs, registered=("model",), older_than=0) == {"old", "young"}


def test_parents_of_what_stays_stay() -> None:
    """A sweep is there as long as one of its variants is, and a nested sweep above it."""
    runs = [run("top", 1), run("sweep", 2, parent="top"), run("best", 3, 1.0, parent="sweep"), run("other", 4, 0.5)]
    assert doomed(runs, keep_best=1, metric="x") == {"other"}


def test_rules_choose_runs_of_their_experiment(store: Any, experiment: str) -> None:
    ids: list[str] = []
    for value in (1.0, 3.0, 2.0):
        run_id = store.create_run(experiment, "someone", len(ids), [], f"run {value}").info.run_id
        store.log_metric(run_id, Metric("height", value, 1, 0))
        store.update_run_info(run_id, RunStatus.FINISHED, 1000, None)
        ids.append(run_id)
    store.delete_run(ids[2])
    name = store.get_experiment(experiment).name
    said = rules.Rules(retention=(Rule(experiment=name, keep_best=1, metric="height"),))
    (choice,) = retention.choose(store.engine, said, ())
    assert choice.experiment == name
    assert [one.id for one in choice.doomed] == [ids[0]]
    assert choice.kept == {"best": 1}


# Orphans and usage ----------------------------------------------------------------------------------------------------


def make_model(store: Any, experiment: str, run_id: str) -> str:
    """Makes a logged model that is whole."""
    model_id: str = store.create_logged_model(experiment, "model", run_id).model_id
    store.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return model_id


def stored(*names: str) -> Iterator[StoredObject]:
    """Lists objects of ten bytes."""
    return iter([StoredObject(name, 10, "") for name in names])


def test_version_without_run_id_keeps_its_run(store: Any, registry: Any, experiment: str) -> None:
    """A version counts by where its files are as well: in a run, or in a model that a run has logged."""
    runs = [store.create_run(experiment, "someone", 1, [], "run") for _ in range(3)]
    model_id = make_model(store, experiment, runs[1].info.run_id)
    registry.create_registered_model(experiment)
    registry.create_model_version(experiment, f"{runs[0].info.artifact_uri}/model")
    registry.create_model_version(experiment, store.get_logged_model(model_id).artifact_location)
    registered = Ownership.read(store.engine, DESTINATION).registered(store.engine, DESTINATION)
    assert {one.info.run_id for one in runs} & registered == {one.info.run_id for one in runs[:2]}


def test_artifacts_without_a_row(store: Any, registry: Any, experiment: str) -> None:
    """Those of a run that no row knows; not those of deleted runs, nor those that a version names."""
    known = store.create_run(experiment, "someone", 1, [], "run").info.run_id
    store.delete_run(known)
    gone, named = "0" * 32, "1" * 32
    registry.create_registered_model(experiment)
    registry.create_model_version(experiment, f"mlflow-artifacts:/{experiment}/{named}/artifacts/model")
    places = {one: f"{experiment}/{one}/artifacts" for one in (known, gone, named, f"m-{gone}")}
    objects = stored(*(f"{place}/{file}" for place in places.values() for file in "ab"), "README", "x/artifacts/a")
    listed = orphans.Listed.read(objects, orphans.experiment_folders(store.engine, DESTINATION))
    found = orphans.without_rows(store.engine, DESTINATION, listed)
    assert set(found) == {places[gone], places[f"m-{gone}"]}
    assert (found[places[gone]][1].objects, found[places[gone]][1].size) == (2, 20)
    assert listed.others.objects == 2


def test_another_stack_is_left_alone(store: Any) -> None:
    """A stack in a subfolder of the same bucket has runs that this one's rows do not know: they are no orphans."""
    store.create_experiment("in a place of its own", "mlflow-artifacts:/team/models")
    run, gone = "5" * 32, "6" * 32
    own = {
        f"7/{run}/artifacts": run,
        f"7/models/m-{run}/artifacts": f"m-{run}",
        f"7/traces/tr-{run}/artifacts": f"tr-{run}",
        f"{run}/artifacts": run,
        f"team/models/{run}/artifacts": run,
        f"team/models/models/m-{gone}/artifacts": f"m-{gone}",
    }
    others = [
        f"second/1/{run}/artifacts",
        f"second/1/models/m-{run}/artifacts",
        f"2/1/{run}/artifacts",
        f"team/models/1/{run}/artifacts",
        f"{gone}/1/{run}/artifacts",
        f"second/elsewhere/{run}/artifacts",
    ]
    experiments = orphans.experiment_folders(store.engine, DESTINATION)
    listed = orphans.Listed.read(stored(*(f"{place}/note.txt" for place in (*own, *others))), experiments)
    assert {place: owner for place, (owner, _) in listed.folders.items()} == own
    assert (listed.foreign.objects, listed.others.objects) == (len(others), 0)
    assert set(orphans.without_rows(store.engine, DESTINATION, listed)) == set(own)


class Bucket:
    """A storage by the names of its objects; each address is a folder of it."""

    def __init__(self, uri: str, names: set[str]) -> None:
        self.artifact_uri, self.names = uri, names

    def objects(self) -> Iterator[StoredObject]:
        """Lists what is below the address."""
        inside = self.artifact_uri.removeprefix(DESTINATION).strip("/")
        folder = f"{inside}/" if inside else ""
        return stored(*sorted(name.removeprefix(folder) for name in self.names if name.startswith(folder)))


def test_rows_without_artifacts(
    store: Any, registry: Any, experiment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are listed, and removed on request, but a version that an alias points to."""
    names: set[str] = set()
    run_id = store.create_run(experiment, "someone", 1, [], "run").info.run_id
    full, empty = (make_model(store, experiment, run_id) for _ in range(2))
    names.add(f"{experiment}/models/{full}/artifacts/MLmodel")
    registry.create_registered_model("lost")
    for _ in range(2):
        registry.create_model_version("lost", f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model", run_id)
    registry.set_registered_model_alias("lost", "champion", "2")
    repository: Any = Bucket(DESTINATION, names)
    monkeypatch.setattr(orphans, "_repository", lambda destination, place: Bucket(f"{destination}/{place}", names))
    command.report(store, registry, repository, remove=False)
    said = capsys.readouterr().out
    for what in ("lost version 1", "lost version 2", f"model {empty}"):
        assert f"orphans: {what}: a row, and no artifacts\n" in said
    assert full not in said
    command.report(store, registry, repository, remove=True)
    said = capsys.readouterr().out
    assert "orphans: lost version 2: a row, and no artifacts: kept, because the alias champion points to it\n" in said
    assert [version.version for version in registry.search_model_versions("name = 'lost'")] == [2]
    assert store.get_logged_model(full).model_id == full
    deleted = store.get_logged_model(empty, allow_deleted=True)
    assert deleted.model_id == empty
    command.report(store, registry, repository, remove=False)
    assert empty not in capsys.readouterr().out


def test_version_of_one_file_is_no_orphan(
    store: Any, registry: Any, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.create_run(experiment, "someone", 1, [], "run").info.run_id
    names = {f"{experiment}/{run_id}/artifacts/model.onnx"}
    registry.create_registered_model("one file")
    for file in ("model.onnx", "model"):
        registry.create_model_version("one file", f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/{file}", run_id)
    monkeypatch.setattr(orphans, "_repository", lambda destination, place: Bucket(f"{destination}/{place}", names))
    listed = orphans.Listed.read(stored(*names), set())
    ready = LoggedModelStatus.READY.to_int()
    lost = orphans.without_objects(store.engine, DESTINATION, listed, ready)
    assert [one.version for one in lost if one.name == "one file"] == [2]


def test_usage_counts_by_experiment_and_user(tmp_path: Path, new_database: Callable[[Path], str]) -> None:
    store: Any = SqlAlchemyStore(new_database(tmp_path), "mlflow-artifacts:/")  # type: ignore[no-untyped-call]
    one, two = (store.create_experiment(name) for name in ("one", "two"))
    first = store.create_run(one, "alice", 1, [], "run").info.run_id
    gone = store.create_run(one, "bob", 1, [], "run").info.run_id
    last = store.create_run(two, "bob", 1, [], "run").info.run_id
    model_id = make_model(store, one, first)
    store.delete_run(gone)
    names = [f"{one}/{first}/artifacts/a", f"{one}/{gone}/artifacts/a", f"{one}/models/{model_id}/artifacts/a"]
    usage = Usage.read(store.engine, DESTINATION, stored(*names, f"{two}/{last}/artifacts/a", "elsewhere"))
    said = usage.as_json()
    counts = {"bytes": 30, "deleted_bytes": 10, "runs": 1, "models": 1}
    assert said["experiments"][0] == {"name": "one", **counts}
    users = {entry["name"]: (entry["bytes"], entry["runs"], entry["models"]) for entry in said["users"]}
    assert users == {"alice": (20, 1, 1), "bob": (20, 1, 0), None: (10, 0, 0)}
    assert said["total"] == {"bytes": 50, "deleted_bytes": 10, "runs": 2, "models": 1}
    limits = rules.Limits.model_validate({"total": "0.049 kB", "experiment": "0.029 kB", "user": "0.02 kB"})
    assert list(usage.warnings(limits)) == [
        "all artifacts take 50 B, and the limit is 49 B",
        "the experiment one takes 30 B, and the limit is 29 B",
    ]


def test_sizes_are_readable() -> None:
    assert [readable(size) for size in (0, 999, 1500, 2_340_000, 5 * 10**12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.3 MB",
        "5.0 TB",
    ]
