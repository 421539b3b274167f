"""The server's key is in the containers that use it and nowhere else, and each container holds no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..stack import SERVERS, Stack
from ..test_secrets import command_lines, inspections, leaks


@pytest.fixture(scope="module")
def key(stack: Stack) -> dict[str, str]:
    """The server's key."""
    content: dict[str, str] = json.loads(stack.read_volume("gcs-server-key", "key.json"))
    return content


def test_key_shows_nowhere(stack: Stack, key: dict[str, str], baseline: dict[str, Any]) -> None:
    places = [*inspections(stack), *command_lines(stack), ("logs", stack.logs())]
    secret = key["private_key"].splitlines()[1:-1]
    assert leaks([*secret, key["private_key_id"]], places) == []


def test_key_is_mounted_where_it_is_used(stack: Stack) -> None:
    mounted = {
        (service, mount["RW"])
        for service in (*SERVERS, "preflight", "migrate", "gcs-keys")
        for mount in stack.container(service).attrs["Mounts"]
        if mount.get("Name") == f"{stack.project}_gcs-server-key"
    }
    assert mounted == {("mlflow", False), ("preflight", False), ("gcs-keys", True)}


def test_gateway_and_store_hold_no_private_key(stack: Stack) -> None:
    for service in ("gcs", "gcs-store"):
        found = stack.exec(service, "bash", "-c", "grep -rls 'PRIVATE KEY' /keys /storage /run /tmp || true")
        assert found == "", service
