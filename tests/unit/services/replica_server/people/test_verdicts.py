"""services/mlflow: REQUIRE_VERDICT=on: a guarded alias moves only to what satisfied the policy, at MLflow's store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from replica_server.people import verdicts
from replica_server.people.roles import Asking, Person, Role, asking
from replica_server.settings import Settings
from sqlalchemy import text

pytestmark = pytest.mark.process
# Without types in MLflow.
Tag: Any = ModelVersionTag
VERDICT = Tag(verdicts.POLICY, "a1b2c3")


class Table:
    """Stands in the database's place: MLflow's own store answers."""

    engine: Any = None

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        for number in range(len(values)):
            statement = statement.replace("%s", f":v{number}", 1)
        with self.engine.connect() as connection:
            found = connection.execute(text(statement), {f"v{number}": value for number, value in enumerate(values)})
            return [tuple(row) for row in found]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> Iterator[Any]:
    """The registry's store, with the checks around it while this module runs; the model m has two versions."""
    before = dict(vars(RegistryStore))
    path: Path = tmp_path_factory.mktemp("store")
    table = Table()
    verdicts.Verdicts(table, frozenset({"champion"})).apply()  # type: ignore[arg-type]
    try:
        store: Any = RegistryStore(new_database(path))  # type: ignore[no-untyped-call]
        table.engine = store.engine
        store.create_registered_model("m")
        for _ in range(2):
            store.create_model_version("m", "mlflow-artifacts:/0/models/m", None)
        yield store
    finally:
        for name, value in before.items():
            if getattr(RegistryStore, name, None) is not value and callable(value):
                setattr(RegistryStore, name, value)


@contextmanager
def as_role(role: Role) -> Iterator[None]:
    token = asking.set(Asking(Person("alice", role, "password")))
    try:
        yield
    finally:
        asking.reset(token)


def expect_refusal(what: Callable[[], object], said: str) -> None:
    with pytest.raises(MlflowException, match=said) as refused:
        what()
    assert refused.value.get_http_status_code() == 403  # type: ignore[no-untyped-call]
    assert "\n" not in refused.value.message


def test_alias_moves_only_to_what_was_checked(registry: Any) -> None:
    """Also for an administrator, and however the version is written; other aliases are free."""
    with as_role(Role.ADMIN):
        registry.set_model_version_tag("m", "1", VERDICT)
        registry.set_registered_model_alias("m", "champion", "1")
        for version in ("2", "02", " 2"):
            expect_refusal(
                lambda version=version: registry.set_registered_model_alias("m", "champion", version),  # type: ignore[misc]
                "none is recorded for version 2: trainer promote",
            )
        registry.set_registered_model_alias("m", "candidate", "2")
        assert registry.get_model_version_by_alias("m", "champion").version == 1
        registry.delete_model_version_tag("m", "1", verdicts.POLICY)
        expect_refusal(lambda: registry.set_registered_model_alias("m", "champion", "1"), "none is recorded")
        registry.set_model_version_tag("m", "1", Tag(verdicts.POLICY, ""))
        expect_refusal(lambda: registry.set_registered_model_alias("m", "champion", "1"), "none is recorded")


def test_verdict_is_written_by_release_only(registry: Any) -> None:
    with as_role(Role.MEMBER):
        registry.set_model_version_tag("m", "2", Tag("trainer.note", "free"))
        for what in (
            lambda: registry.set_model_version_tag("m", "2", VERDICT),
            lambda: registry.delete_model_version_tag("m", "2", verdicts.POLICY),
            lambda: registry.create_model_version("m", "mlflow-artifacts:/0/models/m", None, [VERDICT]),
        ):
            expect_refusal(what, "is a policy's verdict: the roles release and admin")
    with as_role(Role.RELEASE):
        registry.set_model_version_tag("m", "2", VERDICT)
        registry.set_registered_model_alias("m", "champion", "2")


def test_copy_has_no_verdict(registry: Any) -> None:
    """Clients copy a version with its tags, also into a model with another policy: it is not checked there."""
    with as_role(Role.RELEASE):
        registry.create_registered_model("copied-to")
        copied = registry.create_model_version("copied-to", "models:/m/1", None, [VERDICT, Tag("note", "kept")])
        assert registry.get_model_version("copied-to", copied.version).tags == {"note": "kept"}
        expect_refusal(
            lambda: registry.set_registered_model_alias("copied-to", "champion", copied.version), "none is recorded"
        )


def test_it_needs_a_login() -> None:
    assert Settings.read({"AUTH": "on", "REQUIRE_VERDICT": "on"}).require_verdict
    assert not Settings.read({"AUTH": "on"}).require_verdict
    for environment, said in (
        ({"REQUIRE_VERDICT": "on"}, "REQUIRE_VERDICT is on, and AUTH is off"),
        ({"AUTH": "on", "REQUIRE_VERDICT": "yes"}, "REQUIRE_VERDICT is yes: it can be off or on"),
    ):
        with pytest.raises(SystemExit, match=f"^error: {said}"):
            Settings.read(environment)
