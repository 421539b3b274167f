"""services/mlflow: each of MLflow's routes is in a list; what is off, or odd, is refused by its address alone."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from replica_server.artifacts import names
from replica_server.requests import refused_paths, routes
from replica_server.settings import ROUTE_GROUPS
from starlette.types import Message, Scope


def ask(
    path: str,
    method: str = "GET",
    query: bytes = b"",
    raw_path: bytes | None = None,
    extra: frozenset[str] = frozenset(),
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> tuple[int, str]:
    """Returns the status and the message with which the middleware answers; 0 when it lets the request pass."""
    sent: list[Message] = []

    async def application(_scope: Scope, _receive: Any, _send: Any) -> None:
        sent.append({"type": "passed", "status": 0, "body": b'{"message": ""}'})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "query_string": query,
        "headers": list(headers),
    }
    asyncio.run(refused_paths.RefusedPaths(application, extra)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[-1]["body"])["message"]


def loaded() -> list[str]:
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app

    return sorted(set(routes.paths(app, flask_app)))


def filled(path: str) -> str:
    return re.sub(r"<[^>]+>|\{[^}]+\}", "x", path)


def test_each_route_of_mlflow_is_in_a_list() -> None:
    found = loaded()
    assert len(found) > 250
    assert [path for path in found if routes.group(filled(path)) is None] == []


def test_what_tracking_needs_is_no_group() -> None:
    kept = {"/graphql", "/v1/traces", "/get-artifact", "/", "/health", "/ajax-api/3.0/mlflow/traces/search"}
    kept |= {f"/api/2.0/mlflow/{name}" for name in ("runs/create", "experiments/search", "registered-models/search")}
    assert {path for path in kept if routes.group(path) != ""} == set()


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/gateway/mlflow/v1/chat/completions", "gateway"),
        ("/ajax-api/2.0/mlflow/runs/create-promptlab-run", "gateway"),
        ("/api/3.0/mlflow/mcp-servers/a/versions/1", "mcp"),
        ("/ajax-api/3.0/mlflow/scorer/invoke", "scorers"),
        ("/api/2.0/mlflow/webhooks", "webhooks"),
    ],
)
def test_group_is_refused_until_the_setting_names_it(path: str, group: str) -> None:
    status, said = ask(path, "POST")
    assert (status, f"MLFLOW_EXTRA_ROUTES={group}" in said) == (403, True)
    assert ask(path, "POST", extra=frozenset({group}))[0] == 0


def test_each_group_can_be_set() -> None:
    assert set(routes.OPTIONAL) == set(ROUTE_GROUPS)


@pytest.mark.parametrize(
    "path", ["/ajax-api/3.0/mlflow/assistant/message", "/ajax-api/3.0/jobs/", "/api/3.0/mlflow/workspaces"]
)
def test_routes_the_image_lacks_stay_refused(path: str) -> None:
    """What the image lacks is refused whatever is set."""
    assert ask(path, extra=frozenset(routes.OPTIONAL))[0] == 403


def test_what_the_ui_reads_on_other_pages_passes() -> None:
    paths = [f"/ajax-api/3.0/mlflow/{name}" for name in ("assistant/config", "assistant/providers", "scorers/list")]
    for path in paths:
        assert ask(path)[0] == 0
        assert ask(path, "PUT")[0] == 403


ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"


@pytest.mark.parametrize(
    "route", [ARTIFACTS, ARTIFACTS.replace("/api", "/ajax-api"), "/api/2.0/mlflow-artifacts/mpu/create/"]
)
@pytest.mark.parametrize(
    "name", ["", "a//b", "/a", "a/", "a/../b", "./a", "x" * 256, "ä" * 128, "/".join(["x" * 200] * 6)]
)
def test_name_that_no_artifact_can_have_is_a_400(route: str, name: str) -> None:
    for method in ("GET", "HEAD", "PUT", "POST"):
        assert ask(route + name, method)[0] == 400


@pytest.mark.parametrize("name", ["a", "a/b.txt", "x" * 255, "with space, & ä", "...", "a/.hidden", "日本" * 40])
def test_name_that_an_artifact_can_have_passes(name: str) -> None:
    assert names.fault(name) == ""
    assert ask(ARTIFACTS + name, "PUT")[0] == 0


@pytest.mark.parametrize("name", ["a.txt", "1/run/artifacts/", "a//b", ""])
def test_deletion_is_refused_and_names_gc(name: str) -> None:
    status, said = ask(ARTIFACTS + name, "DELETE")
    assert status == 403
    assert "docker compose run --rm gc" in said


def test_address_that_is_no_text_is_a_400() -> None:
    path = "/api/2.0/mlflow/runs/get"
    for refused in (
        ask(path, query=b"run_id=%00"),
        ask(path, query=b"run_id=%ff"),
        ask(f"{path}/\ufffd", raw_path=f"{path}/%ff".encode()),
        ask(f"{path}/\0", raw_path=f"{path}/%00".encode()),
        ask(path, headers=((b"host", b"\xff"),)),
        ask(path, headers=((b"origin", b"\xff"),)),
    ):
        assert refused[0] == 400
    assert ask(path, query="run_id=ä%20%2500".encode(), headers=((b"cookie", b"\xff"),))[0] == 0
