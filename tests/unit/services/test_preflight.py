"""services/mlflow/app: what is checked before the server may use a bucket, as far as no network is needed."""

import json
import os
from pathlib import Path

import pytest
from app import artifacts, google_account, preflight


@pytest.mark.parametrize(
    ("bucket", "prefix", "address"),
    [
        ("my-bucket", "mlflow", "gs://my-bucket/mlflow/"),
        ("my-bucket", "/team/mlflow/", "gs://my-bucket/team/mlflow/"),
        ("my-bucket", "", "gs://my-bucket/"),
        ("my.bucket_1", "", "gs://my.bucket_1/"),
    ],
)
def test_destination(bucket: str, prefix: str, address: str) -> None:
    assert preflight.destination(bucket, prefix) == address


@pytest.mark.parametrize(
    ("bucket", "prefix", "message"),
    [
        ("", "", "GCS_BUCKET is not set"),
        ("gs://my-bucket", "", "without gs://"),
        ("my-bucket/folder", "", "without gs://"),
        ("My-Bucket", "", "not the name of a bucket"),
        ("my-bucket", "a b", "GCS_PREFIX may have"),
        ("my-bucket", "a//b", "GCS_PREFIX may have"),
    ],
)
def test_destination_that_cannot_be_is_refused(bucket: str, prefix: str, message: str) -> None:
    with pytest.raises(preflight.CheckError, match=message):
        preflight.destination(bucket, prefix)


def test_emulator_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://localhost:4443")
    with pytest.raises(preflight.CheckError, match="makes Google's client anonymous"):
        preflight.check_environment()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "is not a service account's JSON key"),
        ("[]", "is not a service account's JSON key"),
        (json.dumps({"type": "authorized_user"}), "is of type authorized_user"),
        (json.dumps({"type": "service_account", "client_email": "a@b"}), "is not a service account's JSON key"),
    ],
)
def test_key_file_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    (tmp_path / "key").write_text(content)
    monkeypatch.setenv(google_account.KEY_VARIABLE, str(tmp_path / "key"))
    with pytest.raises(google_account.AccountError, match=message):
        google_account.find()


def test_missing_key_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(google_account.KEY_VARIABLE, str(tmp_path / "key"))
    with pytest.raises(google_account.AccountError, match="cannot be read: No such file"):
        google_account.find()


def test_empty_key_file_leaves_the_library_to_look_for_the_attached_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").touch()
    monkeypatch.setenv(google_account.KEY_VARIABLE, str(tmp_path / "key"))
    google_account.use_attached_account_without_key()
    assert google_account.KEY_VARIABLE not in os.environ


def test_destination_is_written_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "FILE", tmp_path / "destination")
    with pytest.raises(SystemExit, match="no storage has been prepared"):
        artifacts.read_destination()
    for address in ("s3://mlflow/", "gs://bucket/mlflow/"):
        artifacts.write_destination(address)
        assert artifacts.read_destination() == address
