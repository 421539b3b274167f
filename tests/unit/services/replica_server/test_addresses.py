"""services/mlflow: addresses.py: an address that is not in the server's storage is refused where it is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow.exceptions import MlflowException
from replica_server.artifacts.addresses import Storage, translated

PROXIED = Storage("s3://mlflow/", direct=False)
DIRECT = Storage("gs://bucket/team/", direct=True)
FOREIGN = [
    "file:///etc",
    "./x",
    "/etc/x",
    "gs://elsewhere/x",
    "s3://elsewhere/x",
    "dbfs:/x",
    "http://host/api/2.0/mlflow-artifacts/artifacts/x",
    "mlflow-artifacts://host/x",
    "mlflow-artifacts:/../x",
    "mlflow-artifacts:/a/%252e%252e/x",
    "mlflow-artifacts:/a//b",
    "mlflow-artifacts:/a%00",
    f"mlflow-artifacts:/{'x' * 256}",
    " mlflow-artifacts:/x",
    "http://[",
    "",
]


def refused(check: Callable[..., None], *arguments: str) -> bool:
    """Tells whether a check refuses; a refusal is a 400 in one line."""
    try:
        check(*arguments)
    except MlflowException as error:
        return (error.get_http_status_code(), "\n" in error.message) == (400, False)  # type: ignore[no-untyped-call]
    return False


@pytest.mark.parametrize("uri", FOREIGN)
def test_foreign_address_is_refused_everywhere(uri: str) -> None:
    for storage in (PROXIED, DIRECT):
        assert refused(storage.check_location, uri, "artifact_location")
        assert refused(storage.check_source, uri, "source")
        assert refused(storage.check_stored, uri)


@pytest.mark.parametrize("uri", ["mlflow-artifacts:/", "mlflow-artifacts:/5/run/artifacts", "MLFLOW-ARTIFACTS:/a/"])
def test_proxied_address_is_accepted_in_both_modes(uri: str) -> None:
    for storage in (PROXIED, DIRECT):
        for check in (storage.check_location, storage.check_source):
            assert not refused(check, uri, "field")
        assert not refused(storage.check_stored, uri)
        assert not refused(storage.check_root, uri)


@pytest.mark.parametrize("uri", ["gs://bucket/team/5", "gs://bucket/team"])
def test_only_direct_mode_clients_name_the_bucket(uri: str) -> None:
    """Bucket is named by clients in direct mode only."""
    assert not refused(DIRECT.check_location, uri, "field")
    assert refused(Storage("gs://bucket/team/", direct=False).check_location, uri, "field")


@pytest.mark.parametrize(
    "uri", ["gs://bucket/other", "gs://bucket/teammate", "gs://bucket/team/../other", "gs://bucket"]
)
def test_address_beside_the_folder_is_foreign(uri: str) -> None:
    """What is beside the storages folder is foreign."""
    assert refused(DIRECT.check_location, uri, "field")
    assert refused(DIRECT.check_stored, uri)


@pytest.mark.parametrize(
    "uri", ["runs:/id/model", "models:/m-1", "models:/name/1", "s3://mlflow/5/run/artifacts/model"]
)
def test_allowed_sources_of_a_model_version(uri: str) -> None:
    """Model comes from a run a model or the storage."""
    assert not refused(PROXIED.check_source, uri, "source")
    assert not refused(PROXIED.check_stored, uri)
    assert refused(PROXIED.check_location, uri, "artifact_location")


def test_proxied_root_leads_downwards() -> None:
    """Root that MLflow takes for proxied leads downwards."""
    route = "http://old-name:5000/api/2.0/mlflow-artifacts/artifacts"
    assert not refused(PROXIED.check_root, f"{route}/5/run/artifacts")
    for uri in ("http://elsewhere/x", f"{route}/../x", "mlflow-artifacts:/../x"):
        assert refused(PROXIED.check_root, uri)


def test_proxied_address_leads_to_the_storage() -> None:
    assert translated("mlflow-artifacts:/5/run", DIRECT.destination) == "gs://bucket/team/5/run"
    assert translated("mlflow-artifacts:/", DIRECT.destination) == "gs://bucket/team"


def test_refusal_shows_no_password() -> None:
    with pytest.raises(MlflowException, match="artifact_location: host/x is not in this server's storage") as refusal:
        PROXIED.check_location("ftp://user:password@host/x", "artifact_location")
    assert "password" not in refusal.value.message
