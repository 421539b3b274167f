"""scripts/rolling-restart: what it refuses, before anything is changed, in one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
# Notes each call, and answers those that the environment says.
DOCKER = """#!/bin/bash
echo "$*" >>"$CALLS"
case "$*" in
    'compose config') echo "${NAME:+name: $NAME}" ;;
    'compose exec --no-TTY edge servers') echo "$SEEN"; [ -n "$SEEN" ] ;;
    'ps --all'*) [ -z "$SERVERS" ] || echo "$SERVERS" ;;
    *' migrate replica-server migrate --same-schema') echo 'migrate: error: the schema is at a' >&2; exit 1 ;;
    *) exit 99 ;;
esac
"""


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({}, ("now",), "it takes no arguments (got: now)"),
        ({}, (), "the compose files or settings cannot be read: docker compose config says why"),
        (
            {"NAME": "a"},
            (),
            "there is no balancer in front of these servers: start the stack with compose.servers.yaml",
        ),
        ({"NAME": "a", "SEEN": "10.0.0.2:5000 UP"}, (), "no server runs: docker compose up --detach --wait"),
        ({"NAME": "a", "SEEN": "10.0.0.2:5000 UP", "SERVERS": "0123"}, (), "nothing was changed: see above"),
    ],
)
def test_refusal_changes_nothing(
    tmp_path: Path, settings: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    """Also a version with another schema: no server is started or ended for it."""
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "NAME": "", "SEEN": "", "SERVERS": ""}
    done = subprocess.run(
        [ROOT / "scripts/rolling-restart", *arguments],
        env={**os.environ, **own, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"rolling-restart: error: {said}")
    words = calls.read_text().split()
    assert {"up", "stop", "rm"} & set(words) == set()
