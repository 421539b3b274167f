"""The server asks the registry by itself: as MLflow's client asks, and with its logins."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.serving.prepare import ModelError
from trainer.serving.registry_requests import find_version

from ..conftest import free_port


def test_registry_answers_as_mlflows_client_does(server: str, logged: tuple[str, str]) -> None:
    client = MlflowClient(server, server)
    name = "served ü"
    client.create_registered_model(name)
    with pytest.raises(ModelError, match="no version of served ü has the alias champion; trainer promote gives it"):
        find_version(server, name, "champion")
    with pytest.raises(ModelError, match="no version of another has the alias champion"):
        find_version(server, "another", "champion")
    version = client.create_model_version(name, *logged).version
    client.set_registered_model_alias(name, "champion", version)
    assert find_version(server, name, "champion") == str(version)
    assert find_version(f"{server}/", name, "champion") == str(version)


@pytest.fixture
def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the address of a server that gives a fixed answer, and what it was asked."""
    state: dict[str, Any] = {"status": 200, "body": b'{"model_version": {"version": "7"}}'}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.update(path=self.path, login=self.headers.get("Authorization"))
            self.send_response(state["status"])
            self.end_headers()
            self.wfile.write(state["body"])

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{listener.server_address[1]}", state
    listener.shutdown()
    listener.server_close()


@pytest.mark.parametrize(
    ("user", "settings", "login"),
    [
        ("", {}, None),
        ("me:p%40ss@", {}, "Basic " + base64.b64encode(b"me:p@ss").decode()),
        ("", {"USERNAME": "me", "PASSWORD": "s"}, "Basic " + base64.b64encode(b"me:s").decode()),
        ("", {"TOKEN": "t"}, "Bearer t"),
        ("", {"USERNAME": "me", "TOKEN": "t"}, "Bearer t"),
    ],
)
def test_logins_are_those_of_mlflows_client(
    answers: tuple[str, dict[str, Any]],
    user: str,
    settings: dict[str, str],
    login: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    address, state = answers
    assert find_version(f"http://{user}{address}/base", "m", "champion") == "7"
    assert (state["path"], state["login"]) == (
        "/base/api/2.0/mlflow/registered-models/alias?name=m&alias=champion",
        login,
    )


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, b"<html>broken", "500 <html>broken"),
        (401, b"", "401"),
        (403, json.dumps({"error_code": "PERMISSION_DENIED", "message": "no"}).encode(), "no"),
        (200, b"<html>", "the registry does not answer"),
        (200, b"{}", "the registry does not answer"),
    ],
)
def test_other_answers_are_one_line(answers: tuple[str, dict[str, Any]], status: int, body: bytes, says: str) -> None:
    address, state = answers
    state.update(status=status, body=body)
    with pytest.raises(ModelError, match="the registry does not answer") as error:
        find_version(f"http://{address}", "m", "champion")
    assert says in str(error.value)


def test_registry_that_is_gone_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"the registry does not answer: .*refused"):
        find_version(f"http://127.0.0.1:{free_port()}", "m", "champion")
