"""services/mlflow: what is checked before the server may use a bucket, as far as no network is needed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from google.auth.exceptions import RefreshError, TransportError
from replica_server import settings
from replica_server.artifacts import destination, google_account, google_refusals
from replica_server.commands import preflight
from requests import ConnectionError as NoConnection


@pytest.mark.parametrize(
    ("bucket", "prefix", "address"),
    [
        ("my-bucket", "mlflow", "gs://my-bucket/mlflow/"),
        ("my-bucket", "/team/mlflow/", "gs://my-bucket/team/mlflow/"),
        ("my-bucket", "", "gs://my-bucket/"),
        ("my.bucket_1", "", "gs://my.bucket_1/"),
        ("my-bucket", "v1..2/.hidden", "gs://my-bucket/v1..2/.hidden/"),
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
        ("my-bucket", "a//b", "GCS_PREFIX may have .* single slashes: a//b"),
        ("my-bucket", "..", "GCS_PREFIX may not have"),
        ("my-bucket", "team/../mlflow", "GCS_PREFIX may not have"),
        ("my-bucket", "./mlflow", "GCS_PREFIX may not have"),
        ("my-bucket", "mlflow/.", "GCS_PREFIX may not have"),
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
    monkeypatch.setenv(settings.GOOGLE_KEY, str(tmp_path / "key"))
    with pytest.raises(google_account.AccountError, match=message):
        google_account.find()


def test_missing_key_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.GOOGLE_KEY, str(tmp_path / "key"))
    with pytest.raises(google_account.AccountError, match="cannot be read: No such file"):
        google_account.find()


class Bucket:
    """A bucket in memory, as far as the check uses it.

    Args:
        lost: The answer to the first upload is one to a second, by an account that may not replace.
        changed: Other bytes are kept than were sent.
        listed: Objects are listed.
        stale: A second upload changes nothing.
    """

    name = "bucket"

    def __init__(self, lost: bool = False, changed: bool = False, listed: bool = True, stale: bool = False) -> None:
        self.objects: dict[str, bytes] = {}
        self.lost, self.changed, self.listed, self.stale = lost, changed, listed, stale

    def blob(self, name: str) -> Any:
        """Returns an object, there or not."""

        def upload(content: bytes, **_: Any) -> None:
            if not ((self.stale or self.lost) and name in self.objects):
                self.objects[name] = b"other" if self.changed else content
            if self.lost:
                raise Forbidden(f"server@x does not have {google_refusals.OVERWRITE} access")  # type: ignore[no-untyped-call]

        return SimpleNamespace(upload_from_string=upload, download_as_bytes=lambda **_: self.objects[name])

    def list_blobs(self, prefix: str, **_: Any) -> list[Any]:
        """Lists, unless it does not."""
        return [SimpleNamespace(name=name) for name in self.objects if self.listed and name.startswith(prefix)]


OTHER_BYTES = "holds other bytes than were written"
NO_REPLACING = (
    "lacks storage.objects.delete on gs://bucket: grant it roles/storage.objectUser on this bucket, "
    "or set ARTIFACT_OVERWRITE=refuse"
)


@pytest.mark.parametrize(
    ("setting", "options", "failures"),
    [
        ("refuse", {}, []),
        ("refuse", {"lost": True}, []),
        ("refuse", {"lost": True, "changed": True}, [OTHER_BYTES]),
        ("refuse", {"changed": True}, [OTHER_BYTES]),
        ("refuse", {"listed": False}, ["was written, and the list does not show it"]),
        ("allow", {}, []),
        ("allow", {"lost": True}, [NO_REPLACING]),
        ("allow", {"stale": True}, [OTHER_BYTES]),
    ],
)
def test_what_was_written_is_read_back_and_listed(
    setting: str, options: dict[str, bool], failures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.OVERWRITE, setting)
    bucket: Any = Bucket(**options)
    # An older one, which would be enough for a list that is only not empty.
    bucket.objects["p/20200101T000000Z-00000000"] = b""
    check = preflight.BucketCheck(bucket, "p/", "server@x")
    check.run()
    assert [failure.split(" ", 1)[1] for failure in check.failures] == failures


@pytest.mark.parametrize(
    "error",
    [
        RefreshError("invalid_grant"),  # type: ignore[no-untyped-call]
        TransportError("no answer"),  # type: ignore[no-untyped-call]
        NoConnection("no answer"),
        ServiceUnavailable("busy"),  # type: ignore[no-untyped-call]
    ],
)
def test_failed_check_for_excess_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """Question for excess that fails is a warning."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    bucket: Any = Bucket()
    bucket.test_iam_permissions = fail
    client = SimpleNamespace(bucket=lambda _: bucket)
    account = SimpleNamespace(email="server@x", source="key file", client=lambda: client)
    monkeypatch.setattr(google_account, "find", lambda: account)
    monkeypatch.setenv("GCS_BUCKET", "bucket")
    assert preflight.check() == "gs://bucket/"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("preflight: warning: cannot tell what else the account may do: ")


def test_token_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = object()
    answers = [google_account.NotYetError("no token at present"), google_account.NotYetError("no token at present")]

    def find() -> Any:
        if answers:
            raise answers.pop()
        return found

    monkeypatch.setattr(google_account, "find", find)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert preflight.find_account() is found
    answers.append(google_account.NotYetError("no token at present"))
    with pytest.raises(google_account.NotYetError):
        preflight.find_account(wait=-1)


def test_account_that_is_refused_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> None:
        raise google_account.AccountError("refused")

    monkeypatch.setattr(google_account, "find", find)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waits"))
    with pytest.raises(google_account.AccountError, match="refused"):
        preflight.find_account()


def test_destination_is_written_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "FILE", tmp_path / "destination")
    with pytest.raises(SystemExit, match="no storage has been prepared"):
        destination.read_destination()
    for address in ("s3://mlflow/", "gs://bucket/mlflow/"):
        destination.write_destination(address)
        assert destination.read_destination() == address


def test_refused_destination_is_kept_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused destination is kept beside until the next is written."""
    monkeypatch.setattr(destination, "FILE", tmp_path / "destination")
    destination.refuse_destination()
    assert list(tmp_path.iterdir()) == []
    destination.write_destination("gs://bucket/mlflow/")
    # A second failure has nothing left to take away, and must not lose what the first has kept.
    for _ in range(2):
        destination.refuse_destination()
        with pytest.raises(SystemExit, match="no storage has been prepared: its last check has failed"):
            destination.read_destination()
        assert destination.refused_file().read_text() == "gs://bucket/mlflow/\n"
    destination.write_destination("gs://other/mlflow/")
    assert [file.name for file in tmp_path.iterdir()] == ["destination"]


def test_failed_check_takes_the_address_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "FILE", tmp_path / "destination")
    destination.write_destination("gs://bucket/mlflow/")
    monkeypatch.setenv("GCS_BUCKET", "")
    with pytest.raises(SystemExit, match="preflight: error: GCS_BUCKET is not set"):
        preflight.main()
    assert [file.name for file in tmp_path.iterdir()] == ["destination.refused"]
