"""The server's key is in the containers that use it and nowhere else, and each container holds no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from ..stack import SERVERS, Stack
from ..test_secrets import command_lines, inspections, leaks
from .emulator import SERVER, Emulator


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


def test_broken_key_is_an_error_until_mended(crash_stack: Stack) -> None:
    """Key that is broken after a restart is an error until it is mended."""
    stack = crash_stack
    emulator = Emulator(stack)
    try:
        # The volume's owner is the one who writes the keys.
        stack.compose(
            *("run", "--rm", "--no-deps", "-T", "--entrypoint", "bash"),
            *("gcs-keys", "-c", "rm /keys/server/key.json && echo broken >/keys/server/key.json"),
        )
        emulator.clear_audit()
        # As the engine starts it: without the preflight.
        stack.container("mlflow").restart()
        stack.wait_healthy("mlflow")
        place = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts"
        broken = "the key file (GCS_KEY_FILE) is not a service account's JSON key"
        for answer in (
            requests.put(f"{place}/broken-key.txt", data=b"text", timeout=60),
            requests.get(f"{place}/broken-key.txt", timeout=60),
            requests.get(place, timeout=60),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
            assert answer.json()["message"] == f"The server cannot use its Google account: {broken}"
        assert emulator.audit() == []
    finally:
        stack.compose("run", "--rm", "--no-deps", "-T", "gcs-keys")
    # The same server, at the next request.
    assert requests.put(f"{place}/broken-key.txt", data=b"text", timeout=60).ok
    assert requests.get(f"{place}/broken-key.txt", timeout=60).text == "text"
    assert {entry["account"] for entry in emulator.audit()} == {SERVER}
