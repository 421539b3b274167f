"""services/mlflow: settings.py and mlflow_environment.py: what can be set, and how MLflow is told."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.server import constants
from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request
from replica_server.mlflow_environment import allowed_hosts, allowed_origins, artifact_root, of_server, prepare
from replica_server.settings import NOT_CARRIED, Settings


def read(**environment: Any) -> Settings:
    """Returns the settings in this environment."""
    return Settings.read(environment)


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
def test_allowed_hosts_are_the_known_names(host: str, allowed: bool) -> None:
    """Allowed hosts admits the known names and no other."""
    public = read(MLFLOW_PUBLIC_HOSTS=" tracking.example.org ").public_hosts
    assert is_allowed_host_header(allowed_hosts(public).split(","), host) is allowed


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
def test_allowed_origins_are_the_uis_own(origin: str, allowed: bool) -> None:
    """Allowed origins admit the UI's own and no other."""
    public = read(MLFLOW_PUBLIC_HOSTS="tracking.example.org").public_hosts
    assert should_block_cors_request(origin, "POST", allowed_origins(public).split(",")) is not allowed


@pytest.mark.parametrize("mode", ["", "disable", "prefer", "require"])
def test_unchecked_external_database_is_refused(mode: str) -> None:
    """External database without a checked certificate is refused."""
    assert read(PGSSLMODE=mode)
    with pytest.raises(SystemExit, match="verify-ca or verify-full"):
        read(PGSSLMODE=mode, POSTGRES_TLS_REQUIRED="true")


@pytest.mark.parametrize(
    ("value", "groups"), [("", set()), (" webhooks , gateway,", {"webhooks", "gateway"}), ("mcp", {"mcp"})]
)
def test_setting_names_groups(value: str, groups: set[str]) -> None:
    assert read(MLFLOW_EXTRA_ROUTES=value).extra_routes == groups


@pytest.mark.parametrize("value", ["webhook", "jobs", "gateway,assistant"])
def test_group_that_is_none_stops_the_start(value: str) -> None:
    with pytest.raises(SystemExit, match=r"^error: MLFLOW_EXTRA_ROUTES: there is no group \w+; there are [^\n]*$"):
        read(MLFLOW_EXTRA_ROUTES=value)


@pytest.mark.parametrize("name", NOT_CARRIED)
@pytest.mark.parametrize(
    ("value", "refused"), [("", False), ("false", False), ("0", False), ("true", True), ("1", True)]
)
def test_what_is_not_carried_stops_the_start(name: str, value: str, refused: bool) -> None:
    if refused:
        with pytest.raises(SystemExit, match=rf"^error: {name} is set, [^\n]*$"):
            read(**{name: value})
    else:
        assert read(**{name: value}) == read()


def test_empty_variable_is_none_for_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

    name = "MLFLOW_ENABLE_WORKSPACES"
    for value in ("", "false", "0"):
        environment = {name: value}
        prepare(environment, read(**environment), "s3://bucket/")
        monkeypatch.delenv(name, raising=False)
        for variable in environment.keys() & {name}:
            monkeypatch.setenv(variable, environment[variable])
        assert MLFLOW_ENABLE_WORKSPACES.get() is False  # type: ignore[no-untyped-call]


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
def test_impossible_upload_setting_stops_start(name: str, value: str, message: str | None) -> None:
    """Upload setting that would fail each upload stops the start."""
    if message is None:
        assert int(value) in vars(read(**{name: value})).values()
    else:
        with pytest.raises(SystemExit, match=f"^error: {name} is {value}: it has to be {message}"):
            read(**{name: value})


@pytest.mark.parametrize("value", ["https://mlflow.example.org", "mlflow.example.org/", "one.test two.test", "a, b c"])
def test_public_host_that_is_no_name_stops_the_start(value: str) -> None:
    with pytest.raises(SystemExit, match=r'^error: MLFLOW_PUBLIC_HOSTS: ".*" is no host name'):
        read(MLFLOW_PUBLIC_HOSTS=value)


@pytest.mark.parametrize("value", ["10.*", "192.168.*", "a.test, 172.16.*", "*", "*.*", "a.*.test", "*test", "a.test*"])
def test_too_wide_public_host_stops_the_start(value: str) -> None:
    """Public host that matches names of others stops the start."""
    with pytest.raises(SystemExit, match=r'^error: MLFLOW_PUBLIC_HOSTS: "\S+" matches names of others: [^\n]*$'):
        read(MLFLOW_PUBLIC_HOSTS=value)


@pytest.mark.parametrize("value", ["a.test", "a.test:8443, *.b.test", "10.0.0.3", "[::1]:5000", "my_host", " , "])
def test_forms_of_public_hosts(value: str) -> None:
    """Public hosts may be names patterns and addresses."""
    assert read(MLFLOW_PUBLIC_HOSTS=value).public_hosts == tuple(
        part.strip() for part in value.split(",") if part.strip()
    )


@pytest.mark.parametrize(("value", "logged"), [("", False), ("false", False), ("true", True), ("yes", None)])
def test_access_log_is_on_or_off(value: str, logged: bool | None) -> None:
    if logged is None:
        with pytest.raises(SystemExit, match=r"^error: MLFLOW_ACCESS_LOG is yes: it can be true or false$"):
            read(MLFLOW_ACCESS_LOG=value)
    else:
        assert read(MLFLOW_ACCESS_LOG=value).access_log is logged


def test_server_environment_proxies_artifacts() -> None:
    environment = of_server(read(MLFLOW_DEFAULT_ARTIFACT_ROOT="mlflow-artifacts:/"), "s3://somewhere/")
    assert environment[constants.SERVE_ARTIFACTS_ENV_VAR] == "true"
    assert environment[constants.ARTIFACTS_DESTINATION_ENV_VAR] == "s3://somewhere/"


def test_artifact_mode_decides_the_location() -> None:
    """Artifact mode decides what new experiments get."""
    for mode, root in (("", "mlflow-artifacts:/"), ("proxied", "mlflow-artifacts:/"), ("direct", "gs://bucket/mlflow")):
        found = read(MLFLOW_DEFAULT_ARTIFACT_ROOT="mlflow-artifacts:/", ARTIFACT_MODE=mode)
        assert artifact_root(found, "gs://bucket/mlflow/") == root
    with pytest.raises(SystemExit, match="ARTIFACT_MODE is dierct: it can be proxied or direct"):
        read(ARTIFACT_MODE="dierct")
