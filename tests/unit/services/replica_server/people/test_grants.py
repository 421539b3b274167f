"""services/mlflow: what a grant lets through, at MLflow's own stores, and by an artifact's path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from mlflow.entities import (
    ExperimentTag,
    Feedback,
    LoggedModelTag,
    Metric,
    RunStatus,
    RunTag,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.server import app as flask_app
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from replica_server.people import access, changed_objects, grants, guards
from replica_server.people.directory import UnavailableError
from replica_server.people.roles import EXPERIMENT, MODEL, Asking, Person, Role, asking
from sqlalchemy import text

pytestmark = pytest.mark.process
# Without types in MLflow.
Tag: Any = ModelVersionTag


class Table:
    """Stands in the database's place: MLflow's own store answers, and nothing has an owner. It counts."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.asked: list[str] = []
        self.fails = False

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        self.asked.append(statement)
        if self.fails:
            raise UnavailableError(OSError("away"))
        if "people." in statement:
            return []
        for number in range(len(values)):
            statement = statement.replace("%s", f":v{number}", 1)
        with self.engine.connect() as connection:
            found = connection.execute(text(statement), {f"v{number}": value for number, value in enumerate(values)})
            return [tuple(row) for row in found]


class World:
    """Two experiments with a run and a logged model each, and two registered models with a version each."""

    def __init__(self, path: Path, table: Table, uri: str) -> None:
        tracking: Any = TrackingStore
        registry: Any = RegistryStore
        self.tracking, self.registry = tracking(uri, str(path / "artifacts")), registry(uri)
        table.engine, self.table = self.tracking.engine, table
        self.experiments = [str(self.tracking.create_experiment(name)) for name in ("ours", "theirs")]
        self.runs = [self.tracking.create_run(one, "ada", 1, [], "r").info.run_id for one in self.experiments]
        self.logged = [self.tracking.create_logged_model(one, "m").model_id for one in self.experiments]
        for name in ("shop", "fraud"):
            self.registry.create_registered_model(name)
            self.registry.create_model_version(name, "mlflow-artifacts:/1/models/m", None)

    @contextmanager
    def as_viewer(self, *, role: Role = Role.VIEWER, on_model: Role = Role.MEMBER) -> Iterator[Asking]:
        """A request that takes a member, of a person with a grant for the first experiment and the model shop."""
        held = {(EXPERIMENT, self.experiments[0]): Role.MEMBER, (MODEL, "shop"): on_model}
        needs = Role.MEMBER if role < Role.MEMBER else None
        request = Asking(Person("gina", role, "password"), grants=held, needs=needs)
        token = asking.set(request)
        try:
            yield request
        finally:
            asking.reset(token)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> Iterator[World]:
    """The stores, with the checks around their methods while this module runs."""
    before = {store: dict(vars(store)) for store in (TrackingStore, RegistryStore)}
    views, table = dict(flask_app.view_functions), Table()
    guards.Guards(table, frozenset({"champion"})).apply()  # type: ignore[arg-type]
    grants.Grants(table).apply(flask_app)  # type: ignore[arg-type]
    try:
        path = tmp_path_factory.mktemp("store")
        yield World(path, table, new_database(path))
    finally:
        flask_app.view_functions.update(views)
        for store, names in before.items():
            for name in set(vars(store)) - set(names):
                delattr(store, name)
            for name, value in names.items():
                if getattr(store, name, None) is not value and callable(value):
                    setattr(store, name, value)


def expect_refusal(what: Callable[[], object], said: str) -> None:
    with pytest.raises(MlflowException, match=said) as refused:
        what()
    assert refused.value.get_http_status_code() == 403  # type: ignore[no-untyped-call]
    assert "\n" not in refused.value.message


def trace(name: str, experiment: str) -> TraceInfo:
    return TraceInfo(name, TraceLocation.from_experiment_id(experiment), 1, TraceState.OK)


def test_grant_is_for_one_experiment(world: World) -> None:
    """Its runs and logged models can be written, those of another one not."""
    tracking = world.tracking
    for index in (0, 1):
        experiment, run, model = world.experiments[index], world.runs[index], world.logged[index]

        def each(experiment: str = experiment, run: str = run, model: str = model) -> list[Callable[[], object]]:
            return [
                lambda: tracking.create_run(experiment, "", 1, [], "r"),
                lambda: tracking.log_metric(run, Metric("loss", 1.0, 1, 0)),
                lambda: tracking.log_batch(run, [Metric("loss", 2.0, 1, 1)], [], [RunTag("a", "b")]),
                lambda: tracking.set_tag(run, RunTag("c", "d")),
                lambda: tracking.update_run_info(run, RunStatus.FINISHED, 2, None),
                lambda: tracking.create_logged_model(experiment, "other"),
                lambda: tracking.set_logged_model_tags(model, [LoggedModelTag("a", "b")]),
                lambda: tracking.start_trace(trace(f"tr-{experiment}", experiment)),
            ]

        with world.as_viewer() as request:
            for what in each():
                if index:
                    expect_refusal(what, "gina has the role viewer, and this takes member: no grant of theirs is for")
                else:
                    what()
    assert request.objects[0] == f"experiment {world.experiments[1]}"
    found = tracking.get_run(world.runs[1])
    assert (found.data.metrics, "c" in found.data.tags, found.info.status) == ({}, False, "RUNNING")


def test_metric_of_anothers_model_is_refused(world: World) -> None:
    """It would be stored with the logged model too, whatever run it is of."""
    ours, theirs = (Metric("loss", 1.0, 1, 5, model_id=model) for model in world.logged)
    with world.as_viewer():
        world.tracking.log_metric(world.runs[0], ours)
        for what in (
            lambda: world.tracking.log_metric(world.runs[0], theirs),
            lambda: world.tracking.log_batch(world.runs[0], [ours, theirs], [], []),
        ):
            expect_refusal(what, f"for logged-model {world.logged[1]}")


def test_trace_of_another_experiment_is_refused(world: World) -> None:
    """Who names the trace of another experiment, and their own experiment, would write into that trace."""
    world.tracking.start_trace(trace("tr-theirs", world.experiments[1]))
    with world.as_viewer():
        world.tracking.start_trace(trace("tr-ours", world.experiments[0]))
        expect_refusal(lambda: world.tracking.start_trace(trace("tr-theirs", world.experiments[0])), "trace tr-theirs")
        world.tracking.set_trace_tag("tr-ours", "a", "b")
        expect_refusal(lambda: world.tracking.set_trace_tag("tr-theirs", "a", "b"), "for trace tr-theirs")


def test_assessment_of_another_trace_is_refused(world: World) -> None:
    """MLflow would put one that a trace brings with it in the place of what has its id, of whatever trace."""
    for index, name in enumerate(("tr-mine", "tr-judged")):
        world.tracking.start_trace(trace(name, world.experiments[index]))
    good: Any = Feedback(name="good", value=True, trace_id="tr-judged")
    judged = world.tracking.create_assessment(good).assessment_id
    bad: Any = Feedback(name="good", value=False, trace_id="tr-mine")
    bad.assessment_id = judged
    with world.as_viewer():
        mine = trace("tr-mine", world.experiments[0])
        mine.assessments = [bad]
        expect_refusal(lambda: world.tracking.start_trace(mine), f"for assessment {judged}")
        bad.assessment_id = None
        world.tracking.start_trace(mine)
    assert world.tracking.get_assessment("tr-judged", judged).value is True


def test_what_is_not_there_is_refused(world: World) -> None:
    with world.as_viewer():
        expect_refusal(lambda: world.tracking.set_tag("0" * 32, RunTag("a", "b")), "for run 0000")
        expect_refusal(lambda: world.tracking.create_run("01", "", 1, [], "r"), "for experiment 01")
        expect_refusal(lambda: world.tracking.create_dataset("d", {}, []), "for this")
        expect_refusal(lambda: world.tracking.create_experiment("mine"), "for this")


def test_grant_is_for_one_model(world: World) -> None:
    registry = world.registry
    with world.as_viewer():
        registry.create_model_version("shop", "mlflow-artifacts:/1/models/m", None)
        registry.set_model_version_tag("shop", "2", Tag("a", "b"))
        registry.set_registered_model_alias("shop", "candidate", "2")
        # As clients ask before they register: it is there.
        with pytest.raises(MlflowException, match="already exists"):
            registry.create_registered_model("shop")
        for what in (
            lambda: registry.create_registered_model("new"),
            lambda: registry.create_model_version("fraud", "mlflow-artifacts:/1/models/m", None),
            lambda: registry.set_model_version_tag("fraud", "1", Tag("a", "b")),
            lambda: registry.set_registered_model_alias("fraud", "candidate", "1"),
        ):
            expect_refusal(what, "no grant of theirs is for model")
        # A member everywhere could not either.
        expect_refusal(lambda: registry.set_registered_model_alias("shop", "champion", "2"), "shop@champion is guarded")


def test_version_is_noted_on_its_logged_model(world: World) -> None:
    """Registering does so, whatever experiment the logged model is in; the tags of it alone stay as they were."""
    theirs = world.logged[1]
    with world.as_viewer() as request:
        world.tracking.set_model_versions_tags("shop", "1", theirs)
        assert request.needs == Role.MEMBER
        for what in (
            lambda: world.tracking.set_model_versions_tags("fraud", "1", theirs),
            lambda: world.tracking.set_logged_model_tags(theirs, [LoggedModelTag("a", "b")]),
        ):
            expect_refusal(what, "no grant of theirs is for")
    assert set(world.tracking.get_logged_model(theirs).tags) == {"mlflow.modelVersions"}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_one_model_is_released_by_a_grant(world: World, role: Role) -> None:
    registry = world.registry
    with world.as_viewer(role=role, on_model=Role.RELEASE):
        registry.set_registered_model_alias("shop", "champion", "1")
        registry.delete_registered_model_alias("shop", "champion")
        expect_refusal(lambda: registry.set_registered_model_alias("fraud", "champion", "1"), "fraud")
        expect_refusal(lambda: registry.delete_model_version("fraud", "1"), "fraud")


def test_run_is_looked_up_once(world: World) -> None:
    """And for a person whose role suffices, never."""
    with world.as_viewer():
        world.tracking.set_tag(world.runs[0], RunTag("a", "b"))
        world.table.asked.clear()
        for step in range(3):
            world.tracking.log_metric(world.runs[0], Metric("often", 1.0, 1, step))
        assert world.table.asked == []
    run = world.tracking.create_run(world.experiments[1], "ada", 1, [], "r").info.run_id
    with world.as_viewer(role=Role.MEMBER):
        world.tracking.log_metric(run, Metric("often", 1.0, 1, 0))
    assert world.table.asked == []


def test_database_away_refuses(world: World) -> None:
    run = world.tracking.create_run(world.experiments[0], "ada", 1, [], "r").info.run_id
    with world.as_viewer():
        world.table.fails = True
        try:
            with pytest.raises(MlflowException, match="Nobody is let in") as refused:
                world.tracking.log_metric(run, Metric("loss", 1.0, 1, 0))
        finally:
            world.table.fails = False
    assert refused.value.get_http_status_code() == 503  # type: ignore[no-untyped-call]


def test_nobody_changes_anything(world: World) -> None:
    """A request of nobody's, as on a thread that does not know whose it is; the server itself may."""
    world.tracking.set_experiment_tag(world.experiments[0], ExperimentTag("a", "b"))
    with flask_app.test_request_context("/"):
        expect_refusal(
            lambda: world.tracking.set_experiment_tag(world.experiments[0], ExperimentTag("a", "c")), "Nobody is known"
        )


def test_upload_of_the_ui_is_checked(world: World) -> None:
    """It asks the store for nothing but the run's address."""
    app = Flask("test")
    app.view_functions["serve_upload_artifact"] = lambda: "stored"
    grants.Grants(world.table).apply(app)  # type: ignore[arg-type]
    for run, status in ((world.runs[0], 200), (world.runs[1], 403), ("", 403)):
        with world.as_viewer(), app.test_request_context(f"/?run_uuid={run}&run_uuid={world.runs[0]}"):
            answer = app.make_response(app.view_functions["serve_upload_artifact"]())  # type: ignore[arg-type]
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/api/2.0/mlflow-artifacts/artifacts/7/run/artifacts/a", True),
        ("/ajax-api/2.0/mlflow-artifacts/mpu/create/7/run/artifacts/a", True),
        ("/api/2.0/mlflow-artifacts/artifacts/8/run/artifacts/a", False),
        ("/api/2.0/mlflow-artifacts/artifacts/8/mlflow-artifacts/artifacts/7/a", False),
        ("/api/2.0/mlflow-artifacts/artifacts//7/a", False),
        ("/api/2.0/mlflow-artifacts/artifacts/%37/a", False),
        ("/api/2.0/mlflow-artifacts/artifacts/77/a", False),
        ("/api/2.0/mlflow-artifacts/artifacts/7", False),
        ("/api/2.0/mlflow-artifacts/mpu/create/8/7/a", False),
        ("/api/2.0/mlflow-artifacts/mpu/7/8/a", False),
        ("/elsewhere/7/a", False),
    ],
)
def test_artifact_is_its_experiments(path: str, may: bool) -> None:
    request = Asking(
        Person("gina", Role.VIEWER, "password"), grants={(EXPERIMENT, "7"): Role.MEMBER}, needs=Role.MEMBER
    )
    if may:
        grants.check_artifact(request, path)
    else:
        expect_refusal(lambda: grants.check_artifact(request, path), "no grant of theirs is for")


def test_methods_that_nobody_is_granted() -> None:
    """Each method of the stores that may change something is in a table, or named here: then grants are not for it."""
    unknown = set(changed_objects.writing(TrackingStore)) - set(changed_objects.TRACKING)
    unknown |= set(changed_objects.writing(RegistryStore)) - set(changed_objects.REGISTRY)
    other_features = ("gateway", "guardrail", "mcp", "webhook", "prompt", "scorer", "scoring", "budget", "endpoint")
    assert {name for name in unknown if not any(word in name for word in other_features)} == {
        "archive_traces",
        "copy_model_version",
        "create_experiment",
        "delete_assessment",
        "delete_dataset",
        "delete_dataset_records",
        "delete_label_schema",
        "delete_review_queue",
        "delete_traces",
        "end_async_logging",
        "flush_async_logging",
        "log_batch_async",
        "log_metric_async",
        "log_param_async",
        "set_tag_async",
        "shut_down_async_logging",
        "unlink_traces_from_run",
    }


def test_grants_stand_for_the_member_only() -> None:
    """What takes an administrator, and what makes a new experiment, no grant lets through."""
    assert {row.role for row in access.ROWS if row.grant} == {Role.MEMBER}
    for path in ("experiments/create", "artifacts/presigned-upload-url"):
        row = access.find("POST", f"/api/2.0/mlflow/{path}")
        assert row is not None
        assert row.grant == ""
