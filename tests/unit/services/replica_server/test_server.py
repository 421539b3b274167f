"""services/mlflow: what the server decides at its start, and how its application is assembled."""

import argparse
import re
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import psycopg2
import pytest
from fastapi import FastAPI
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from replica_server import database, stack_record
from replica_server.artifacts import destination as address_file
from replica_server.artifacts.removal import RemovalError, Removed
from replica_server.artifacts.s3 import S3Repository
from replica_server.commands import gc, migrate, schema
from replica_server.housekeeping import files
from replica_server.mlflow_environment import of_server
from replica_server.people import schema as people
from replica_server.settings import Settings
from starlette.routing import BaseRoute, Match


@pytest.fixture
def passfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(database, "PASSFILE", tmp_path / "pgpass")
    monkeypatch.setenv("PGPASSFILE", "")
    return tmp_path / "pgpass"


def test_password_file_becomes_a_private_pgpass(passfile: Path) -> None:
    """Password file becomes a private pgpass with its special characters escaped."""
    (passfile.parent / "password").write_text("a:b\\c\n")
    database.open_password_file(passfile.parent / "password")
    assert passfile.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_missing_or_empty_password_is_one_line(passfile: Path, content: str | None) -> None:
    if content is not None:
        (passfile.parent / "password").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        database.open_password_file(passfile.parent / "password")
    message = str(stopped.value)
    assert message.startswith("error: the database password")
    assert "\n" not in message


SERVER = 'connection to server at "db" (10.0.0.3), port 5432 failed: '


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (f'{SERVER}FATAL:  password authentication failed for user "u"', None),
        (f"{SERVER}server does not support SSL, but SSL was required", None),
        (f'{SERVER}root certificate file "/ca" does not exist\nEither provide the file, or change', "does not exist"),
        ('invalid sslmode value: "wrong"', None),
    ],
)
def test_refused_connection_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch, error: str, said: str | None) -> None:
    """Connection that is refused is one line at once."""

    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg2.OperationalError(f'{error}\npassword retrieved from file "/tmp/pgpass"\n')

    monkeypatch.setattr("psycopg2.connect", refuse)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it tries again, which changes nothing"))
    with pytest.raises(SystemExit, match=rf"^error: no connection to the database: .*{re.escape(said or error)}$"):
        database.connect()


def test_silent_database_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Database that does not answer in time is one line that says why."""

    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg2.OperationalError(f"{SERVER}Connection refused\n\tIs the server running?\n")

    monkeypatch.setattr("psycopg2.connect", refuse)
    with pytest.raises(SystemExit, match=r"^error: no connection to the database: .* failed: Connection refused$"):
        database.connect(wait=0)


def test_schema_of_a_newer_mlflow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema of a newer MLflow is one line that says what to do."""
    with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        newer.execute("INSERT INTO alembic_version VALUES ('fedcba987654')")
        newer.commit()
    monkeypatch.setattr(database, "URI", f"sqlite:///{tmp_path}/newer.db")
    with pytest.raises(SystemExit, match=r"^migrate: error: .*fedcba987654.*a newer MLflow's; .*\(scripts/restore\)$"):
        migrate.upgrade()


def test_database_lost_in_migration_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Database that fails during the migration is one line."""
    monkeypatch.setattr(database, "URI", "postgresql+psycopg2://nobody@127.0.0.1:9/none")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    with pytest.raises(SystemExit, match=r"^migrate: error: the upgrade failed: [^\n]*Connection refused[^\n]*$"):
        migrate.upgrade()


@pytest.mark.parametrize("found", ["0123456789ab", None])
def test_running_servers_keep_their_schema(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: str | None) -> None:
    """Another schema, while servers of the former version run, is one line: nothing is migrated or recorded."""
    (tmp_path / "schema-revision").write_text("fedcba987654\n")
    monkeypatch.setattr(migrate, "REVISION_FILE", tmp_path / "schema-revision")
    monkeypatch.setattr(sys, "argv", ["migrate", "--same-schema"])
    for name in ("open_password_file", "connect"):
        monkeypatch.setattr(database, name, MagicMock())
    monkeypatch.setattr(stack_record, "read", lambda _: stack_record.StackRecord("", ""))
    monkeypatch.setattr(migrate, "current_revision", lambda _: found)
    for place, name in ((migrate, "upgrade"), (stack_record, "write_version"), (people, "create")):
        monkeypatch.setattr(place, name, lambda *_: pytest.fail("it changes something"))
    with pytest.raises(SystemExit, match=rf"^migrate: error: the schema is at {found}, .*; scripts/upgrade stops them"):
        migrate.main()


def test_own_download_route_comes_before_mlflows() -> None:
    # Its path and parameters are MLflow's: a version that names them otherwise would take downloads back.
    from mlflow.server.artifact_router import artifact_router
    from replica_server.patches import downloads as own

    def downloads(router: Any) -> set[str]:
        return {route.path for route in router.routes if "GET" in route.methods}

    assert downloads(own.router) == downloads(artifact_router)


def test_flask_paths_are_of_no_other_route() -> None:
    """What goes to the Flask application first would be no other route's: a version that adds one would lose it."""
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app
    from replica_server.patches import flask_first
    from replica_server.requests import routes

    no_flask = SimpleNamespace(url_map=SimpleNamespace(iter_rules=list))
    assert [path for path in routes.paths(app, no_flask) if path.startswith(flask_first.PATHS)] == []
    assert len([path for path in routes.paths(app, flask_app) if path.startswith(flask_first.PATHS)]) > 100
    application = FastAPI()
    application.router.routes = list(app.router.routes)
    flask_first.apply(application)

    def first(path: str) -> BaseRoute:
        scope = {"type": "http", "method": "POST", "path": path}
        return next(route for route in application.router.routes if route.matches(scope)[0] == Match.FULL)

    assert isinstance(first("/api/2.0/mlflow/runs/create"), flask_first.FlaskFirst)
    assert isinstance(first("/ajax-api/2.0/mlflow/runs/search"), flask_first.FlaskFirst)
    assert not isinstance(first("/v1/traces"), flask_first.FlaskFirst)


def test_body_passes_all_other_layers() -> None:
    """Way of a body is shortened by the two layers and no other."""
    from mlflow.server.fastapi_app import app
    from replica_server.patches import unused_middleware

    application = FastAPI()
    application.user_middleware = before = list(app.user_middleware)
    unused_middleware.apply(application)
    taken = [layer for layer in before if layer not in application.user_middleware]
    assert {layer.kwargs["dispatch"].__name__ for layer in taken} == set(unused_middleware.UNUSED)
    assert len(taken) == len(unused_middleware.UNUSED)


def test_settings_reach_mlflows_bridge() -> None:
    """What is set in MLflow's bridge is what it uses."""
    from mlflow.server import fastapi_app

    responder = fastapi_app._EfficientWSGIResponder({}, {})  # type: ignore[arg-type]
    assert {"stream_send", "stream_receive"} <= vars(responder).keys()


def test_clients_are_not_sent_to_the_bucket() -> None:
    """MLflow offers signed addresses where a repository has one of these mixins, as its own repositories have."""
    from mlflow.server import handlers
    from mlflow.store.artifact.artifact_repo import StreamUploadMixin
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
    from replica_server.artifacts.gcs import GCSRepository

    for capability in ("MultipartUploadMixin", "MultipartDownloadMixin", "PresignedUploadMixin"):
        assert issubclass(S3ArtifactRepository, getattr(handlers, capability))
        for repository in (S3Repository, GCSRepository):
            assert not issubclass(repository, getattr(handlers, capability))
    for repository in (S3Repository, GCSRepository):
        assert issubclass(repository, StreamUploadMixin)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow uses this package's repository, as it does where the package is installed."""
    monkeypatch.setitem(get_registered_artifact_repositories(), "s3", S3Repository)


def test_wanted_revision_is_mlflows_newest() -> None:
    """Wanted revision is the newest of MLflow's migrations."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert schema.wanted_revision() == _get_latest_schema_revision()  # type: ignore[no-untyped-call]


@pytest.mark.usefixtures("s3")
def test_wordless_storage_error_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage whose error says nothing is named by the error."""

    def refuse(_place: str) -> None:
        raise TimeoutError

    monkeypatch.setattr(S3Repository, "versions", refuse)
    with pytest.raises(RemovalError, match="s3://bucket/1/run/artifacts: TimeoutError"):
        files.remove_files("mlflow-artifacts:/1/run/artifacts", "run", "s3://bucket/")


def test_server_ends_for_another_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server ends for another storage and not while there is none."""
    file, ended = tmp_path / "destination", threading.Event()
    monkeypatch.setattr(address_file, "FILE", file)
    monkeypatch.setattr("os.kill", lambda *_: ended.set())
    address_file.write_destination("s3://bucket/")
    address_file.end_when_changed("s3://bucket/", interval=0.01)
    address_file.refuse_destination()
    assert not ended.wait(0.1)
    address_file.write_destination("gs://bucket/")
    assert ended.wait(10)


@pytest.mark.parametrize(
    ("uri", "owner", "destination"),
    [
        ("mlflow-artifacts:/shared/artifacts", "run", "s3://bucket/"),
        ("mlflow-artifacts:/", "5", "gs://bucket/team/5/"),
        ("file:///data/run/artifacts", "run", "s3://bucket/"),
    ],
    ids=["others' too", "prefix like an experiment", "elsewhere"],
)
def test_files_that_may_be_others_too_are_kept(
    uri: str, owner: str, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository"
    monkeypatch.setattr(name, lambda place: pytest.fail(f"{place} was opened"))
    assert not files.remove_files(uri, owner, destination)


@pytest.mark.usefixtures("s3")
def test_silently_kept_files_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a storage keeps without a word are no success."""
    monkeypatch.setattr(S3Repository, "remove_versions", lambda _self: Removed())
    monkeypatch.setattr(S3Repository, "versions", lambda _self: iter(["model"]))
    with pytest.raises(RemovalError, match="this identity may not delete them"):
        files.remove_files("mlflow-artifacts:/1/run/artifacts", "run", "s3://bucket/")


@pytest.mark.parametrize(("text", "value"), [("30", 30.0), ("0", 0.0), ("1.5d", 1.5)])
def test_age_of_garbage_is_in_days(text: str, value: float) -> None:
    assert gc.days(text) == value


@pytest.mark.parametrize("text", ["", "a week", "-1", "nan", "inf", "1000000"])
def test_impossible_age_of_garbage_is_refused(text: str) -> None:
    """Age of garbage for which there is no date is refused."""
    with pytest.raises(argparse.ArgumentTypeError, match="no number of days from 0 to 36,525"):
        gc.days(text)


def test_server_never_runs_stored_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow asks two variables whether this process is the server; `mlflow server` would set them."""
    from mlflow.genai.scorers import base

    # What it goes by besides, if the variables are not set.
    monkeypatch.setattr("mlflow.server.is_running_as_server", False)
    assert base._should_reconstruct_scorer_code() is True
    for name, value in of_server(Settings.read({"ARTIFACT_MODE": "direct"}), "s3://bucket").items():
        monkeypatch.setenv(name, value)
    assert base._should_reconstruct_scorer_code() is False
