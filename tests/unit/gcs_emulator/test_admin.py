"""The admin endpoint says what is wrong with a request, and changes nothing then."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gateway.accounts import Account
from gateway.admin import Admin


@pytest.fixture
def gateway(accounts: dict[str, Account]) -> Any:
    return SimpleNamespace(accounts=accounts, tokens=SimpleNamespace(seconds=3600.0))


def put(gateway: Any, path: str, body: str) -> tuple[int, str]:
    """Returns the status and the text of the answer to a request."""

    async def ask() -> tuple[int, str]:
        application = web.Application()
        application.add_routes(Admin(gateway).routes())
        async with TestClient(TestServer(application)) as client:
            answer = await client.put(path, data=body)
            return answer.status, await answer.text()

    return asyncio.run(ask())


def test_lifetime_of_tokens_is_taken(gateway: Any) -> None:
    assert put(gateway, "/token-seconds", "1.5") == (204, "")
    assert gateway.tokens.seconds == 1.5


@pytest.mark.parametrize("body", ["", "soon", '"60"', "null", "[60]", "true", "0", "-1", "NaN", "Infinity"])
def test_lifetime_that_is_none_is_refused_in_one_line(gateway: Any, body: str) -> None:
    status, said = put(gateway, "/token-seconds", body)
    assert (status, len(said.splitlines())) == (400, 1)
    assert gateway.tokens.seconds == 3600


@pytest.mark.parametrize("body", ["", "no-roles", "[]", '{"roles": ["viewer"]}', '{"permissions": ["delete"]}'])
def test_impossible_account_is_one_line(gateway: Any, body: str) -> None:
    """Account that cannot be is refused in one line."""
    status, said = put(gateway, "/accounts/mlflow-server", body)
    assert (status, len(said.splitlines())) == (400, 1)
