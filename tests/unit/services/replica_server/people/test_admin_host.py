"""services/mlflow: a page changes people at its own host alone, and nothing that others have stored is shown there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from replica_server.people.admin_host import AdminHost
from replica_server.settings import Settings

HOST = "people.example.org"
#: What a browser says of a request by a script of the page itself.
OWN = {"host": HOST, "origin": f"https://{HOST}", "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}


def scope(path: str = "/", **headers: str) -> dict[str, Any]:
    return {"path": path, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


def is_own(setting: str = HOST, **headers: str) -> bool:
    """Tells whether a request counts as the page's; what is empty is left out."""
    given = {name: value for name, value in {**OWN, **headers}.items() if value}
    return AdminHost(setting).is_own_page(scope(**given))


def test_its_own_page_is_known() -> None:
    assert is_own()
    port = f"{HOST}:8443"
    assert is_own(**{"host": port, "origin": f"https://{port}"})
    assert is_own("People.Example.org")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://evil.example"},
        {"origin": "https://mlflow.example.org"},
        {"origin": f"https://{HOST}:8443"},
        {"origin": f"https://{HOST}.evil.example"},
        {"origin": f"ftp://{HOST}"},
        {"sec-fetch-site": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-dest": ""},
        {"sec-fetch-dest": "document"},
        {"sec-fetch-dest": "iframe"},
        {"host": ""},
        {"host": "mlflow.example.org", "origin": "https://mlflow.example.org"},
        {"host": f"{HOST}.", "origin": f"https://{HOST}."},
        {"host": "[", "origin": "https://["},
    ],
)
def test_another_page_is_not(headers: dict[str, str]) -> None:
    assert not is_own(**headers)


def test_without_the_setting_there_is_none() -> None:
    assert not is_own("")
    assert not is_own("", host="", origin="https://")


@pytest.mark.parametrize(
    "path",
    [
        "/get-artifact",
        "/model-versions/get-artifact",
        "/graphql",
        "/people/me",
        "/static-files",
        "/ajax-api/2.0/mlflow-artifacts/artifacts/0/x/artifacts/a.svg",
        "/ajax-api/2.0/mlflow/artifacts/list",
        "/ajax-api/2.0/mlflow/logged-models/m/artifacts/files",
        "/ajax-api/3.0/mlflow/get-trace-artifact",
        "/ajax-api/2.0/mlflow/runs/search",
        "/ajax-api/2.0/mlflow/users",
        "/ajax-api/2.0/mlflow/experiments/search/x",
    ],
)
def test_nothing_stored_is_shown_there(path: str) -> None:
    """At its host, and at no other."""
    for name in (HOST, f"{HOST}:8443", HOST.upper()):
        with pytest.raises(MlflowException, match="is for users, roles and grants alone") as refused:
            AdminHost(HOST).check(scope(path, host=name))
        assert refused.value.error_code == "PERMISSION_DENIED"
    AdminHost(HOST).check(scope(path, host="mlflow.example.org"))
    AdminHost("").check(scope(path, host=HOST))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/static-files/static/js/main.js",
        "/ajax-api/2.0/mlflow/users/current",
        "/ajax-api/3.0/mlflow/roles/permissions/list",
        "/ajax-api/2.0/mlflow/experiments/search",
        "/ajax-api/2.0/mlflow/registered-models/search",
    ],
)
def test_what_the_page_needs_is_there(path: str) -> None:
    AdminHost(HOST).check(scope(path, host=HOST))


def sent(host: str) -> list[tuple[bytes, bytes]]:
    """Returns an answer's headers as a client gets them."""
    got: list[Any] = []

    async def send(message: Any) -> None:
        got.append(message)

    sending = AdminHost(HOST).sending(scope(host=host), send)
    asyncio.run(sending({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}))  # type: ignore[arg-type]
    return list(got[0]["headers"])


def test_no_script_but_the_uis_runs_there() -> None:
    assert sent(f"{HOST}:443") == [
        (b"a", b"b"),
        (b"content-security-policy", b"script-src 'self'; object-src 'none'; base-uri 'none'"),
    ]
    assert sent("mlflow.example.org") == [(b"a", b"b")]


def read(**settings: str) -> str:
    return Settings.read({"AUTH": "on", "MLFLOW_PUBLIC_HOSTS": f"mlflow.example.org,{HOST}:443", **settings}).admin_host


def test_setting_names_one_of_the_hosts() -> None:
    assert read() == ""
    assert read(ADMIN_HOST=HOST) == HOST
    assert read(ADMIN_HOST=f" {HOST.upper()} ") == HOST


@pytest.mark.parametrize(
    "settings",
    [
        {"ADMIN_HOST": "elsewhere.example.org"},
        {"ADMIN_HOST": f"{HOST}:443"},
        {"ADMIN_HOST": HOST, "MLFLOW_PUBLIC_HOSTS": HOST},
        {"ADMIN_HOST": HOST, "MLFLOW_PUBLIC_HOSTS": "*.example.org,mlflow.example.org"},
        {"ADMIN_HOST": HOST, "AUTH": "off"},
    ],
)
def test_host_that_cannot_be_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match=r"^error: ADMIN_HOST is [^\n]+$"):
        read(**settings)
