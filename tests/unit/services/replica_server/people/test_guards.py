"""services/mlflow: authors, owners and guarded aliases, at MLflow's own stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.server import app as flask_app
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from replica_server.people import guards
from replica_server.people.directory import UnavailableError
from replica_server.people.roles import Asking, Person, Role, asking
from sqlalchemy import text

pytestmark = pytest.mark.process
USER = "mlflow.user"


class Table:
    """Stands in the database's place; statements about MLflow's tables are answered by MLflow's own."""

    def __init__(self) -> None:
        self.owners: dict[tuple[str, str], str] = {}
        self.engine: Any = None
        self.fails = False

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        if self.fails:
            raise UnavailableError(OSError("away"))
        if statement == guards.OWN:
            self.owners[values[0], values[1]] = values[2]
        elif statement == guards.OWNER:
            return [(self.owners[values],)] if values in self.owners else []
        elif statement == guards.RENAME:
            now, _, before, _ = values
            kept = {"model": before, "version": f"{before}/"}
            for kind, key in list(self.owners):
                if kind in kept and (key == before or key.startswith(kept["version"])):
                    self.owners[kind, now + key.removeprefix(before)] = self.owners.pop((kind, key))
        elif statement == guards.OTHERS_VERSION:
            name, person = values
            found = self.ask(
                "SELECT version FROM model_versions WHERE name = %s AND current_stage <> 'Deleted_Internal'", name
            )
            return [row for row in found if self.owners.get(("version", f"{name}/{row[0]}")) != person][:1]
        elif statement != guards.FORGET:
            sql = statement.replace("IS DISTINCT FROM", "IS NOT")
            names = [f"v{number}" for number in range(len(values))]
            for name in names:
                sql = sql.replace("%s", f":{name}", 1)
            with self.engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(sql), dict(zip(names, values, strict=True)))]
        return []


@pytest.fixture(scope="module")
def table() -> Table:
    return Table()


@pytest.fixture(scope="module")
def stores(
    table: Table, tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]
) -> Iterator[tuple[Any, Any]]:
    """The stores of tracking and of the registry, with the guards around them while this module runs."""
    before = {store: dict(vars(store)) for store in (TrackingStore, RegistryStore)}
    path: Path = tmp_path_factory.mktemp("store")
    guards.Guards(table, frozenset({"champion"})).apply()  # type: ignore[arg-type]
    try:
        uri = new_database(path)
        tracking = TrackingStore(uri, str(path / "artifacts"))  # type: ignore[no-untyped-call]
        table.engine = tracking.engine
        yield tracking, RegistryStore(uri)  # type: ignore[no-untyped-call]
    finally:
        for store, names in before.items():
            for name, value in names.items():
                if getattr(store, name, None) is not value and callable(value):
                    setattr(store, name, value)


@contextmanager
def as_person(name: str, role: Role = Role.MEMBER) -> Iterator[Asking]:
    request = Asking(Person(name, role, "password"))
    token = asking.set(request)
    try:
        yield request
    finally:
        asking.reset(token)


def run_of(tracking: Any, name: str, tags: list[RunTag] | None = None, claim: str = "root", to: str = "0") -> str:
    with as_person(name):
        run = tracking.create_run(experiment_id=to, user_id=claim, start_time=1, tags=tags or [], run_name="r")
    return str(run.info.run_id)


def expect_refusal(what: Callable[[], object], said: str) -> None:
    with pytest.raises(MlflowException, match=said) as refused:
        what()
    assert refused.value.get_http_status_code() == 403  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("claim", "tags", "claimed"),
    [
        ("root", [RunTag(USER, "bob")], "bob"),
        ("bob", [], "bob"),
        ("", [], None),
        ("alice", [RunTag(USER, "alice")], None),
        ("root", [RunTag(USER, "bob"), RunTag(guards.CLAIMED, "carol")], "bob"),
    ],
)
def test_runs_author_is_the_login(stores: Any, claim: str, tags: list[RunTag], claimed: str | None) -> None:
    tracking, _ = stores
    run = tracking.get_run(run_of(tracking, "alice", tags, claim))
    assert (run.info.user_id, run.data.tags[USER]) == ("alice", "alice")
    assert run.data.tags.get(guards.CLAIMED) == claimed


def test_author_stays(stores: Any) -> None:
    tracking, _ = stores
    run = run_of(tracking, "alice", claim="")
    with as_person("bob", Role.ADMIN):
        tracking.set_tag(run, RunTag(USER, "bob"))
        assert tracking.get_run(run).data.tags[guards.CLAIMED] == "bob"
        tracking.log_batch(run, metrics=[], params=[], tags=[RunTag(USER, "carol"), RunTag("other", "1")])
        expect_refusal(lambda: tracking.delete_tag(run, USER), "author, which stays")
    tags = tracking.get_run(run).data.tags
    assert (tags[USER], tags[guards.CLAIMED], tags["other"]) == ("alice", "carol", "1")


def test_run_is_deleted_by_its_author_or_an_admin(stores: Any) -> None:
    tracking, _ = stores
    run = run_of(tracking, "alice")
    for name, role in (("bob", Role.MEMBER), ("ron", Role.RELEASE)):
        with as_person(name, role) as request:
            expect_refusal(lambda: tracking.delete_run(run), f"Run {run} is alice's")
            assert request.objects == [f"run {run}"]
    with as_person("alice"):
        tracking.delete_run(run)
    with as_person("bob"):
        expect_refusal(lambda: tracking.restore_run(run), "is alice's")
    with as_person("ada", Role.ADMIN):
        tracking.restore_run(run)
    with as_person("bob"), pytest.raises(MlflowException, match="not found"):
        tracking.delete_run("none")


def test_run_is_renamed_by_its_author_or_an_admin(stores: Any) -> None:
    """Others may log to it, end it, and resume it under the name that it has."""
    tracking, _ = stores
    run = run_of(tracking, "alice")
    named = RunTag("mlflow.runName", "bob's")
    with as_person("bob") as request:
        for what in (
            lambda: tracking.update_run_info(run, None, None, "bob's"),
            lambda: tracking.set_tag(run, named),
            lambda: tracking.log_batch(run, metrics=[], params=[Param("p", "1")], tags=[named]),
            lambda: tracking.delete_tag(run, "mlflow.runName"),
        ):
            request.renames = False
            expect_refusal(what, f"Run {run} is alice's")
            assert request.renames
        tracking.update_run_info(run, RunStatus.FINISHED, 2, None)
        tracking.update_run_info(run, RunStatus.RUNNING, None, "r")
    found = tracking.get_run(run)
    assert (found.info.run_name, found.data.params, found.data.tags["mlflow.runName"]) == ("r", {}, "r")
    ways: list[Callable[[str], object]] = [
        lambda name: tracking.set_tag(run, RunTag("mlflow.runName", name)),
        lambda name: tracking.log_batch(run, [], [], [RunTag("mlflow.runName", name)]),
        lambda name: tracking.update_run_info(run, None, None, name),
    ]
    for number, rename in enumerate(ways):
        with as_person("alice") as request:
            rename(f"hers {number}")
            assert (request.renames, request.objects) == (True, [f"run {run}", f"to hers {number}"])
        # To the name that it has, and with another tag, nothing is renamed.
        with as_person("alice") as request:
            rename(f"hers {number}")
            tracking.set_tag(run, RunTag("other", "x"))
            assert (request.renames, request.objects) == (False, [])
    with as_person("ada", Role.ADMIN) as request:
        assert tracking.update_run_info(run, None, None, "the admin's").run_name == "the admin's"
        assert request.objects == [f"run {run}", "to the admin's"]


def test_experiment_with_runs_of_others_stays(stores: Any) -> None:
    tracking, _ = stores
    with as_person("alice") as request:
        made = tracking.create_experiment("alice's")
        assert request.objects == [f"experiment {made}", "alice's"]
    with as_person("bob"):
        expect_refusal(lambda: tracking.delete_experiment(made), "is alice's")
        expect_refusal(lambda: tracking.rename_experiment(made, "bob's"), "is alice's")
    run_of(tracking, "bob", to=made)
    with as_person("alice"):
        expect_refusal(lambda: tracking.delete_experiment(made), "holds runs of others")
        tracking.rename_experiment(made, "alice's own")
    with as_person("ada", Role.ADMIN):
        tracking.delete_experiment(made)


def registered(registry: Any, name: str, by: str) -> None:
    with as_person(by):
        registry.create_registered_model(name)
        registry.create_model_version(name, "s3://bucket/model")


def test_guarded_alias_is_moved_by_release_alone(stores: Any) -> None:
    _, registry = stores
    registered(registry, "guarded", "alice")
    with as_person("alice"):
        registry.set_registered_model_alias("guarded", "other", "1")
        expect_refusal(lambda: registry.set_registered_model_alias("guarded", "champion", "1"), "is guarded")
    with as_person("ron", Role.RELEASE) as request:
        registry.set_registered_model_alias("guarded", "champion", "1")
        assert request.objects == ["guarded@champion -> 1"]
    with as_person("alice"):
        for what in (
            lambda: registry.delete_registered_model_alias("guarded", "champion"),
            lambda: registry.delete_model_version("guarded", "1"),
            lambda: registry.delete_model_version("guarded", "01"),
            lambda: registry.delete_registered_model("guarded"),
            lambda: registry.rename_registered_model("guarded", "free"),
        ):
            expect_refusal(what, "guarded")
    with as_person("ron", Role.RELEASE):
        registry.delete_registered_model_alias("guarded", "champion")
    with as_person("alice"):
        registry.delete_model_version("guarded", "1")


def test_registry_is_deleted_by_owners_and_release(stores: Any) -> None:
    _, registry = stores
    registered(registry, "alices", "alice")
    with as_person("bob"):
        registry.create_model_version("alices", "s3://bucket/other")
        expect_refusal(lambda: registry.delete_model_version("alices", "1"), "alices/1 is alice's")
        expect_refusal(lambda: registry.delete_registered_model("alices"), "is alice's")
    with as_person("alice"):
        registry.rename_registered_model("alices", "hers")
        expect_refusal(lambda: registry.delete_model_version("hers", "2"), "hers/2 is bob's")
        registry.delete_model_version("hers", "1")
        expect_refusal(lambda: registry.delete_registered_model("hers"), r"holds versions of others \(2\)")
    with as_person("ron", Role.RELEASE):
        registry.delete_registered_model("hers")


def test_person_called_nobody_owns_nothing(stores: Any) -> None:
    """What was made without a login has no owner."""
    tracking, registry = stores
    made = tracking.create_experiment("before AUTH was on")
    registry.create_registered_model("before")
    with as_person("nobody"):
        expect_refusal(lambda: tracking.delete_experiment(made), f"experiment {made} is nobody's")
        expect_refusal(lambda: registry.delete_registered_model("before"), "model before is nobody's")


def test_database_that_is_away_refuses(stores: Any, table: Table) -> None:
    tracking, _ = stores
    run = run_of(tracking, "alice")
    table.fails = True
    try:
        with as_person("alice"), pytest.raises(MlflowException, match="Nobody is let in") as refused:
            tracking.delete_run(run)
        assert refused.value.get_http_status_code() == 503  # type: ignore[no-untyped-call]
    finally:
        table.fails = False


def test_name_writes_no_line_into_the_log(stores: Any, table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    """MLflow takes any character in a model's name; where its owner cannot be noted, the log tells so in one line."""
    _, registry = stores
    table.fails = True
    try:
        with as_person("alice"):
            registry.create_registered_model("m\nerror forged \x1b[2J")
    finally:
        table.fails = False
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith("warning: model m error forged ?[2J has no owner")] == []
    assert len(said) == 1


def test_request_of_nobody_is_refused(stores: Any) -> None:
    """The server works for itself outside of requests only: a request whose sender got lost changes nothing."""
    tracking, _ = stores
    with flask_app.test_request_context():
        expect_refusal(lambda: tracking.create_experiment("nobody's"), "Nobody is known")
    tracking.create_experiment("the server's")
