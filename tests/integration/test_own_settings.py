"""A stack with names, ports and secrets of the user's own, with characters in them that trip up careless quoting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from mlflow import MlflowClient

from .stack import Identity, Stack, StackError
from .test_secrets import command_lines, inspections, leaks

# The names and secrets provided here are MinIO's; the gcs profile has a key file instead (gcs/test_key.py).
pytestmark = pytest.mark.minio

USER, DATABASE, BUCKET = "shop-team", "shop runs", "shop-artifacts"
ROOT_USER, SERVER_KEY = "shop-admin", "shop-server"
FIRST = {
    "postgres": r"""one:two\three'four"five $HOME %s""",
    "minio": "first+root/pass%word=",
    "server": "first/secret+key%=",
}
SECOND = {"postgres": r"""\:'second'"$(id)""", "minio": "second-root-password", "server": "second-secret-key"}


def provide(stack: Stack, secrets: dict[str, str], server_key: str = SERVER_KEY) -> None:
    """Writes the user's secret files."""
    files = {
        "postgres-password": secrets["postgres"],
        "minio-root-user": f"{ROOT_USER}\n",
        "minio-root-password": f"{secrets['minio']}\n",
        "bucket-credentials": f"[default]\naws_access_key_id={server_key}\naws_secret_access_key={secrets['server']}\n",
    }
    for name, content in files.items():
        (stack.secrets / name).write_text(content)
        (stack.secrets / name).chmod(0o644)


def free_port() -> int:
    """Returns a port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def own(new_stack: Any) -> Iterator[Stack]:
    """A stack with the user's own settings and the first set of secrets."""
    settings = {
        "POSTGRES_USER": USER,
        "POSTGRES_DB": DATABASE,
        "BUCKET": BUCKET,
        "MLFLOW_PORT": str(free_port()),
        "MLFLOW_PUBLIC_HOSTS": "tracking.test, proxy.test:8443",
        "MLFLOW_PUBLIC_URL": "https://tracking.test",
    }
    with new_stack(settings=settings) as stack:
        provide(stack, FIRST)
        stack.up()
        yield stack


def assert_secrets_are_used(stack: Stack, secrets: dict[str, str]) -> None:
    """Proves that each secret opens what it is for, and that the server works with them."""
    assert stack.sql("SELECT current_user, current_database()", password=secrets["postgres"]) == [[USER, DATABASE]]
    buckets = stack.s3(Identity(ROOT_USER, secrets["minio"])).list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in buckets] == [BUCKET]
    stack.s3(Identity(SERVER_KEY, secrets["server"])).list_objects_v2(Bucket=BUCKET)
    client = MlflowClient(stack.url)
    run = client.create_run("0").info
    client.log_text(run.run_id, "hello", "hello.txt")
    key = f"0/{run.run_id}/artifacts/hello.txt"
    stored = stack.s3(Identity(ROOT_USER, secrets["minio"])).get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert stored == b"hello"


def test_own_names_and_secrets_are_the_ones_in_use(own: Stack) -> None:
    assert_secrets_are_used(own, FIRST)


def test_own_port_is_the_published_one(own: Stack) -> None:
    assert own.port("mlflow", 5000) == int(own.environment["MLFLOW_PORT"])


def test_own_secrets_show_nowhere_else(own: Stack) -> None:
    places = [*inspections(own), *command_lines(own), ("logs", own.logs())]
    assert leaks(FIRST.values(), places) == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("tracking.test", 200),
        ("tracking.test:443", 200),
        ("proxy.test:8443", 200),
        ("mlflow:5000", 200),
        ("evil.example", 403),
        ("tracking.test.evil.example", 403),
    ],
)
def test_server_answers_by_its_public_names(own: Stack, host: str, status: int) -> None:
    """Server answers by the configured public names."""
    address = f"{own.url}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(address, headers={"Host": host}, timeout=30).status_code == status


@pytest.mark.parametrize(("origin", "status"), [("https://tracking.test", 200), ("https://evil.example", 403)])
def test_ui_searches_work_under_the_public_name(own: Stack, origin: str, status: int) -> None:
    """UI's searches are answered under the public name."""
    headers = {"Host": "tracking.test", "Origin": origin}
    address = f"{own.url}/ajax-api/2.0/mlflow/experiments/search"
    assert requests.post(address, json={"max_results": 1}, headers=headers, timeout=30).status_code == status


def test_changed_secrets_apply_at_next_start(own: Stack) -> None:
    """Changed secrets take effect at the next start."""
    provide(own, SECOND)
    own.up("--force-recreate")
    assert_secrets_are_used(own, SECOND)
    with pytest.raises(StackError, match="password authentication failed"):
        own.sql("SELECT 1", password=FIRST["postgres"])
    for identity in (Identity(ROOT_USER, FIRST["minio"]), Identity(SERVER_KEY, FIRST["server"])):
        with pytest.raises(ClientError) as denied:
            own.s3(identity).list_objects_v2(Bucket=BUCKET)
        assert denied.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_replaced_access_key_loses_its_rights(own: Stack) -> None:
    """Replaced access key leaves the former one without rights."""
    former = own.bucket_identity
    provide(own, SECOND, server_key="shop-server-2")
    for service in ("secrets", "bucket"):
        own.compose("run", "--rm", "--no-deps", "-T", service)
    own.s3(own.bucket_identity).list_objects_v2(Bucket=BUCKET)
    assert own.bucket_identity != former
    with pytest.raises(ClientError) as denied:
        own.s3(former).list_objects_v2(Bucket=BUCKET)
    assert denied.value.response["Error"]["Code"] == "InvalidAccessKeyId"
