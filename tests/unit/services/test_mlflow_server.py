"""services/mlflow/app: what the server's container decides before MLflow is there."""

import argparse
import re
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from app import artifacts, database, gc, migrate, s3, schema, serve
from app.removal import RemovalError, Removed
from fastapi import FastAPI
from mlflow.server import constants
from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request


@pytest.fixture
def passfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(database, "PASSFILE", tmp_path / "pgpass")
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("PGPASSFILE", "")
    return tmp_path / "pgpass"


def test_password_file_becomes_a_private_pgpass_with_its_special_characters_escaped(passfile: Path) -> None:
    (passfile.parent / "password").write_text("a:b\\c\n")
    database.open_password_file()
    assert passfile.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_missing_or_empty_password_is_one_line(passfile: Path, content: str | None) -> None:
    if content is not None:
        (passfile.parent / "password").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        database.open_password_file()
    message = str(stopped.value)
    assert message.startswith("error: the database password")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mlflow:5000", True),
        ("mlflow", True),
        ("localhost:12345", True),
        ("127.0.0.1:5000", True),
        ("0.0.0.0:5000", True),
        ("[::1]:5000", True),
        ("tracking.example.org", True),
        ("tracking.example.org:443", True),
        ("evil.example.org", False),
        ("mlflow.evil.example.org:5000", False),
        ("tracking.example.org.evil.com", False),
    ],
)
def test_allowed_hosts_admits_the_known_names_and_no_other(
    host: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PUBLIC_HOSTS", " tracking.example.org ")
    assert is_allowed_host_header(serve.allowed_hosts().split(","), host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://tracking.example.org", True),
        ("http://tracking.example.org:8080", True),
        ("http://localhost:5000", True),
        ("https://evil.example.org", False),
        ("https://tracking.example.org.evil.com", False),
        ("null", False),
    ],
)
def test_allowed_origins_admit_the_uis_own_and_no_other(
    origin: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PUBLIC_HOSTS", "tracking.example.org")
    assert should_block_cors_request(origin, "POST", serve.allowed_origins().split(",")) is not allowed


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
def test_connection_that_is_refused_is_one_line_at_once(
    monkeypatch: pytest.MonkeyPatch, error: str, said: str | None
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg2.OperationalError(f'{error}\npassword retrieved from file "/tmp/pgpass"\n')

    monkeypatch.setattr("psycopg2.connect", refuse)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it tries again, which changes nothing"))
    with pytest.raises(SystemExit, match=rf"^error: no connection to the database: .*{re.escape(said or error)}$"):
        database.connect()


def test_database_that_does_not_answer_in_time_is_one_line_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg2.OperationalError(f"{SERVER}Connection refused\n\tIs the server running?\n")

    monkeypatch.setattr("psycopg2.connect", refuse)
    with pytest.raises(SystemExit, match=r"^error: no connection to the database: .* failed: Connection refused$"):
        database.connect(wait=0)


@pytest.mark.parametrize("mode", ["", "disable", "prefer", "require"])
def test_external_database_without_a_checked_certificate_is_refused(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", mode)
    database.check_tls()
    monkeypatch.setenv("POSTGRES_TLS_REQUIRED", "true")
    with pytest.raises(SystemExit, match="verify-ca or verify-full"):
        database.check_tls()


def test_schema_of_a_newer_mlflow_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        newer.execute("INSERT INTO alembic_version VALUES ('fedcba987654')")
        newer.commit()
    monkeypatch.setattr(database, "URI", f"sqlite:///{tmp_path}/newer.db")
    with pytest.raises(SystemExit, match=r"^migrate: error: .*fedcba987654.*a newer MLflow's; .*\(scripts/restore\)$"):
        migrate.upgrade()


def test_database_that_fails_during_the_migration_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "URI", "postgresql+psycopg2://nobody@127.0.0.1:9/none")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    with pytest.raises(SystemExit, match=r"^migrate: error: the upgrade failed: [^\n]*Connection refused[^\n]*$"):
        migrate.upgrade()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MLFLOW_GCS_UPLOAD_CHUNK_SIZE", "262144", None),
        ("MLFLOW_GCS_UPLOAD_CHUNK_SIZE", "16777216", None),
        *(
            ("MLFLOW_GCS_UPLOAD_CHUNK_SIZE", value, "a multiple of 262144")
            for value in ("1000", "0", "16MB", "-262144")
        ),
        ("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "30", None),
        *(("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", value, "a whole number") for value in ("5m", "0", "1.5")),
    ],
)
def test_upload_setting_that_would_fail_each_upload_stops_the_start(
    name: str, value: str, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    if message is None:
        serve.check_upload_settings()
    else:
        with pytest.raises(SystemExit, match=f"^error: {name} is {value}: it has to be {message}"):
            serve.check_upload_settings()


@pytest.mark.parametrize("value", ["https://mlflow.example.org", "mlflow.example.org/", "one.test two.test", "a, b c"])
def test_public_host_that_is_no_name_stops_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PUBLIC_HOSTS", value)
    with pytest.raises(SystemExit, match=r'^error: MLFLOW_PUBLIC_HOSTS: ".*" is no host name'):
        serve.allowed_hosts()


@pytest.mark.parametrize("value", ["10.*", "192.168.*", "a.test, 172.16.*", "*", "*.*", "a.*.test", "*test", "a.test*"])
def test_public_host_that_matches_names_of_others_stops_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PUBLIC_HOSTS", value)
    with pytest.raises(SystemExit, match=r'^error: MLFLOW_PUBLIC_HOSTS: "\S+" matches names of others: [^\n]*$'):
        serve.allowed_hosts()


@pytest.mark.parametrize("value", ["a.test", "a.test:8443, *.b.test", "10.0.0.3", "[::1]:5000", "my_host", " , "])
def test_public_hosts_may_be_names_patterns_and_addresses(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PUBLIC_HOSTS", value)
    assert serve.public_hosts() == [part.strip() for part in value.split(",") if part.strip()]


@pytest.mark.parametrize(("value", "logged"), [("", False), ("false", False), ("true", True), ("yes", None)])
def test_access_log_is_on_or_off(value: str, logged: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ACCESS_LOG", value)
    if logged is None:
        with pytest.raises(SystemExit, match=r"^error: MLFLOW_ACCESS_LOG is yes: it can be true or false$"):
            serve.access_log()
    else:
        assert serve.access_log() is logged


def test_server_environment_proxies_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "mlflow-artifacts:/")
    environment = serve.server_environment("s3://somewhere/")
    assert environment[constants.SERVE_ARTIFACTS_ENV_VAR] == "true"
    assert environment[constants.ARTIFACTS_DESTINATION_ENV_VAR] == "s3://somewhere/"


def test_artifact_mode_decides_what_new_experiments_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "mlflow-artifacts:/")
    for mode, root in (("", "mlflow-artifacts:/"), ("proxied", "mlflow-artifacts:/"), ("direct", "gs://bucket/mlflow")):
        monkeypatch.setenv("ARTIFACT_MODE", mode)
        assert serve.artifact_root("gs://bucket/mlflow/") == root
    monkeypatch.setenv("ARTIFACT_MODE", "dierct")
    with pytest.raises(SystemExit, match="ARTIFACT_MODE is dierct: it can be proxied or direct"):
        serve.artifact_root("gs://bucket/mlflow/")


def test_own_download_route_comes_before_mlflows() -> None:
    # Its path and parameters are MLflow's: a version that names them otherwise would take downloads back.
    from app import streamed
    from mlflow.server.artifact_router import artifact_router

    def downloads(router: Any) -> set[str]:
        return {route.path for route in router.routes if "GET" in route.methods}

    assert downloads(streamed.router) == downloads(artifact_router)


def test_way_of_a_body_is_shortened_by_the_two_layers_and_no_other() -> None:
    from app import streamed
    from mlflow.server.fastapi_app import app

    application = FastAPI()
    application.user_middleware = before = list(app.user_middleware)
    streamed.shorten_the_way(application)
    taken = [layer for layer in before if layer not in application.user_middleware]
    assert {layer.kwargs["dispatch"].__name__ for layer in taken} == set(streamed.UNUSED)
    assert len(taken) == len(streamed.UNUSED)


def test_what_is_set_in_uvicorn_and_mlflow_is_what_they_use() -> None:
    from mlflow.server import fastapi_app
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    assert "HIGH_WATER_LIMIT" in HttpToolsProtocol.on_body.__code__.co_names
    responder = fastapi_app._EfficientWSGIResponder({}, {})  # type: ignore[arg-type]
    assert {"stream_send", "stream_receive"} <= vars(responder).keys()


def test_clients_are_not_sent_to_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.server import handlers
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    for capability in ("MultipartUploadMixin", "MultipartDownloadMixin"):
        assert issubclass(S3ArtifactRepository, getattr(handlers, capability))
        monkeypatch.setattr(handlers, capability, getattr(handlers, capability))
    serve.keep_transfers_proxied()
    for capability in ("MultipartUploadMixin", "MultipartDownloadMixin"):
        assert not issubclass(S3ArtifactRepository, getattr(handlers, capability))


def test_wanted_revision_is_the_newest_of_mlflows_migrations() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert schema.wanted_revision() == _get_latest_schema_revision()  # type: ignore[no-untyped-call]


def test_storage_whose_error_says_nothing_is_named_by_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_place: str) -> None:
        raise TimeoutError

    s3.register()
    monkeypatch.setattr(s3.StreamedS3Repository, "versions", refuse)
    with pytest.raises(RemovalError, match="s3://bucket/1/run/artifacts: TimeoutError"):
        gc.remove_files("mlflow-artifacts:/1/run/artifacts", "run", "s3://bucket/")


def test_server_ends_for_another_storage_and_not_while_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, ended = tmp_path / "destination", threading.Event()
    monkeypatch.setattr(artifacts, "FILE", file)
    monkeypatch.setattr("os.kill", lambda *_: ended.set())
    artifacts.write_destination("s3://bucket/")
    artifacts.end_when_changed("s3://bucket/", interval=0.01)
    artifacts.refuse_destination()
    assert not ended.wait(0.1)
    artifacts.write_destination("gs://bucket/")
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
    assert not gc.remove_files(uri, owner, destination)


def test_files_that_a_storage_keeps_without_a_word_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    s3.register()
    monkeypatch.setattr(s3.StreamedS3Repository, "remove_versions", lambda _self: Removed())
    monkeypatch.setattr(s3.StreamedS3Repository, "versions", lambda _self: iter(["model"]))
    with pytest.raises(RemovalError, match="this identity may not delete them"):
        gc.remove_files("mlflow-artifacts:/1/run/artifacts", "run", "s3://bucket/")


@pytest.mark.parametrize(("text", "value"), [("30", 30.0), ("0", 0.0), ("1.5d", 1.5)])
def test_age_of_garbage_is_in_days(text: str, value: float) -> None:
    assert gc.days(text) == value


@pytest.mark.parametrize("text", ["", "a week", "-1", "nan", "inf", "1000000"])
def test_age_of_garbage_for_which_there_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number of days from 0 to 36,525"):
        gc.days(text)


def test_server_never_runs_stored_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow asks two variables whether this process is the server; `mlflow server` would set them."""
    from mlflow.genai.scorers import base

    monkeypatch.setenv("ARTIFACT_MODE", "direct")
    # What it goes by besides, if the variables are not set.
    monkeypatch.setattr("mlflow.server.is_running_as_server", False)
    assert base._should_reconstruct_scorer_code() is True
    for name, value in serve.server_environment("s3://bucket").items():
        monkeypatch.setenv(name, value)
    assert base._should_reconstruct_scorer_code() is False
