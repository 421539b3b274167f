"""services/mlflow: the server and garbage collection use the account that they were given, or none at all."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from google.api_core.exceptions import Forbidden, RetryError, from_http_response
from google.auth.compute_engine import _metadata
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import RefreshError, TransportError
from google.cloud import storage
from google.oauth2.credentials import Credentials
from mlflow.exceptions import MlflowException
from mlflow.server import constants, handlers
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from replica_server import database, settings
from replica_server.artifacts import destination, gcs, google_account, google_refusals
from replica_server.commands import gc


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key file, which is not there yet, on a machine that is no Google VM."""
    monkeypatch.setenv(settings.GOOGLE_KEY, str(tmp_path / "key.json"))
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", True)
    google_account._shared_client.cache_clear()
    return tmp_path / "key.json"


@pytest.fixture
def server(key: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The repository that the server would use, as MLflow keeps it for the whole process."""
    monkeypatch.setitem(get_registered_artifact_repositories(), "gs", gcs.GCSRepository)
    monkeypatch.setenv(constants.ARTIFACTS_DESTINATION_ENV_VAR, "gs://bucket/mlflow/")
    monkeypatch.setattr(handlers, "_artifact_repo", None)
    monkeypatch.setattr(storage.Client, "create_anonymous_client", lambda: pytest.fail("an anonymous client"))
    yield handlers._get_artifact_repo_mlflow_artifacts
    google_account._shared_client.cache_clear()


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (None, 403, r"the key file \(GCS_KEY_FILE\) cannot be read: No such file"),
        ("not json", 403, "is not a service account's JSON key"),
        ("", 503, "no credentials: give a key file"),
    ],
    ids=["missing", "no key", "no account"],
)
def test_server_without_account_tries_again(
    key: Path,
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    status: int,
    message: str,
) -> None:
    """Server without an account refuses and tries again at the next request."""
    if content is not None:
        key.write_text(content)
    for attempt in range(2):
        with pytest.raises(MlflowException, match=message) as refused:
            server().list_artifacts()
        assert refused.value.get_http_status_code() == status, attempt  # type: ignore[no-untyped-call]
        assert str(refused.value).count("\n") == 0
    found = google_account.GoogleAccount("server@x", "key file", "project", Credentials("token"))  # type: ignore[no-untyped-call]
    find = Mock(return_value=found)
    monkeypatch.setattr(google_account, "find", find)
    clients = {server().bucket().client for _ in range(3)}
    assert [client._credentials for client in clients] == [found.credentials]
    # Once found, it is kept.
    find.assert_called_once_with()


INVALID = RefreshError("invalid_grant: Invalid JWT Signature.", {"error": "invalid_grant"})  # type: ignore[no-untyped-call]
BUSY = RefreshError("internal_failure", retryable=True)  # type: ignore[no-untyped-call]
UNREACHABLE = TransportError("no route")  # type: ignore[no-untyped-call]
LATE = RefreshError(TransportError("metadata service:\n no answer"))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (INVALID, 403, "is refused: invalid_grant: Invalid JWT Signature. (key deleted, account disabled, or clock"),
        (BUSY, 503, "gets no token at present: internal_failure"),
        (UNREACHABLE, 503, "gets no token at present: no route"),
        (LATE, 503, "gets no token at present: metadata service: no answer"),
    ],
    ids=["refused", "busy", "unreachable", "metadata service is late"],
)
def test_account_without_token_is_one_line(
    key: Path, server: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, said: str
) -> None:
    """Account that gets no token is one line at its search and later."""
    key.write_text("{}")

    class Refused(Credentials):
        def refresh(self, _: object) -> None:
            raise error

    found = google_account.GoogleAccount("server@x", "key file", "project", Refused(None))  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google_account, "_from_key", lambda *_: found)
    with pytest.raises(google_account.AccountError) as refused:
        google_account.find()
    assert str(refused.value).startswith(f"server@x {said}")
    # The key was good when the client was made.
    monkeypatch.setattr(google_account, "find", lambda: found)
    incoming: Any = type("Incoming", (), {"read": lambda *_: b""})()
    requests_of_clients: list[Callable[[], object]] = [
        lambda: server().store("file", incoming),
        lambda: server().read_object("file", io.BytesIO()),
        lambda: server().list_artifacts(),
    ]
    for request in requests_of_clients:
        with pytest.raises(MlflowException) as answered:
            request()
        assert answered.value.message.startswith(f"The server cannot use its Google account: the account {said}")
        assert answered.value.get_http_status_code() == status  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the key file (GC_KEY_FILE) cannot be read: No such file or directory; it must be a file that user "),
        ("not json", "the key file (GC_KEY_FILE) is not a service account's JSON key"),
        (b"\xff\xfe", "the key file (GC_KEY_FILE) is not a service account's JSON key"),
        ('{"type": "authorized_user"}', "the key file (GC_KEY_FILE) is of type authorized_user, not service_account"),
        (" \n", "no key: GC_KEY_FILE names the key of the account that may delete"),
    ],
    ids=["missing", "no JSON", "no text", "a person's", "empty"],
)
def test_gc_without_a_key_removes_nothing(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes | None, message: str
) -> None:
    """Collection without a working key is one line and removes nothing."""
    if content is not None:
        key.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "destination").write_text("gs://bucket/mlflow/\n")
    monkeypatch.setattr(destination, "FILE", tmp_path / "destination")
    monkeypatch.setattr("sys.argv", ["gc"])
    # It ends before it has touched anything.
    monkeypatch.setattr(database, "open_password_file", lambda _: pytest.fail("went on"))
    with pytest.raises(SystemExit) as stopped:
        gc.main()
    # A message as the code: it is printed, and the status is 1.
    assert str(stopped.value.code).startswith(f"gc: error: {message}")
    assert "\n" not in str(stopped.value.code)


ROLE = "server@x does not have storage.objects.create access to the Google Cloud Storage object."


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("The billing account for the owning project is disabled in state absent", "enable billing"),
        ("Provided scope(s) are not authorized", "--scopes=cloud-platform"),
        ("Request had insufficient authentication scopes.", "--scopes=cloud-platform"),
        ("Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x", "organisation"),
        ("Request violates constraint 'constraints/storage.restrictAuthTypes'", "organisation"),
        ("Something new.", ""),
        (ROLE.replace("server", "billing-scope"), ""),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_refusal_quotes_google_and_a_remedy(monkeypatch: pytest.MonkeyPatch, said: str, remedy: str, kind: str) -> None:
    """Refusal is told in Google's words with its remedy."""
    answer = requests.Response()
    answer.status_code = 403
    answer.request = requests.Request("POST", "http://storage").prepare()
    body = {"error": {"code": 403, "message": said}}
    answer._content = (json.dumps(body) if kind == "application/json" else said).encode()
    error = from_http_response(answer)  # type: ignore[no-untyped-call]
    reason = google_refusals.reason(error)
    assert reason.startswith(said)
    assert remedy in reason
    assert (reason == said) is not bool(remedy)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(storage.Blob, "upload_from_file", refuse)
    client = storage.Client(project="x", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    incoming: Any = type("Incoming", (), {"read": lambda *_: b""})()
    with pytest.raises(MlflowException) as refused:
        gcs.GCSRepository("gs://bucket/x", client=client).store("file", incoming)
    assert refused.value.message == f"The server's account may not write to gs://bucket: {reason}"
    assert refused.value.get_http_status_code() == 403  # type: ignore[no-untyped-call]


def test_refusal_without_answer_quotes_the_error() -> None:
    """Refusal without an answer is told in the errors words."""
    assert google_refusals.reason(Forbidden("not\n here")) == "not here"  # type: ignore[no-untyped-call]


def test_silent_storage_is_one_line_and_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that does not answer for long is one line and 503."""

    def wait_in_vain(*_: object) -> None:
        raise RetryError("Timeout of 120.0s exceeded", requests.ConnectionError("Connection\nrefused"))  # type: ignore[no-untyped-call]

    repository = gcs.GCSRepository("gs://bucket/x", client=Mock())
    monkeypatch.setattr(repository, "_blob", wait_in_vain)
    with pytest.raises(MlflowException, match=r"^Cloud Storage does not answer: Connection refused$") as refused:
        repository.read_object("file", io.BytesIO())
    assert refused.value.get_http_status_code() == 503  # type: ignore[no-untyped-call]
