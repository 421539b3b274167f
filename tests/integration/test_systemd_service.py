"""The systemd service's commands, confined as in the unit, bring the stack up, down, and up again with all runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .stack import ROOT, SERVERS, Stack
from .test_lifecycle import store_something

# A service starts with next to nothing in its environment.
BARE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def directives(name: str) -> dict[str, str]:
    """Returns the directives of a unit as it would be installed."""
    command = [str(ROOT / "deploy" / "systemd" / "install"), "--print", name]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.M))


@pytest.fixture(scope="module")
def unit(images: None) -> dict[str, str]:
    """The directives of the stack's unit."""
    return directives("mlflow-replica.service")


def run(unit: dict[str, str], command: str, stack: Stack) -> None:
    """Runs one of the unit's commands with the stack's settings, and as few rights as can be had here."""
    confined: list[str] = []
    if os.geteuid() == 0 and shutil.which("setpriv") and shutil.which("unshare"):
        capability = unit["CapabilityBoundingSet"].removeprefix("CAP_").lower()
        bounds = [f"--bounding-set=-all,+{capability}", f"--inh-caps=-all,+{capability}", "--no-new-privs"]
        confined = ["unshare", "--net", "setpriv", *bounds]
    done = subprocess.run(
        [*confined, *shlex.split(unit[command])],
        cwd=unit["WorkingDirectory"],
        env=BARE | stack.settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_service_starts_stops_and_starts_again(new_stack: Any, unit: dict[str, str]) -> None:
    assert Path(unit["WorkingDirectory"]) == ROOT
    with new_stack() as stack:
        run(unit, "ExecStart", stack)
        stack.wait_healthy()
        assert_stored = store_something(stack, "before the reboot")
        containers = {service: stack.container(service).id for service in SERVERS}
        # A restart is enough for a changed file: the containers stay the same ones.
        password = stack.secrets / "postgres-password"
        password.write_text("another")
        password.chmod(0o644)
        run(unit, "ExecStop", stack)
        assert {stack.container(service).status for service in SERVERS} == {"exited"}
        run(unit, "ExecStart", stack)
        stack.wait_healthy()
        assert {service: stack.container(service).id for service in SERVERS} == containers
        assert_stored()
        assert stack.sql("SELECT 1", password="another") == [[1]]
        # What runs already is left alone.
        started = {service: stack.container(service).attrs["State"]["StartedAt"] for service in SERVERS}
        run(unit, "ExecReload", stack)
        assert {service: stack.container(service).attrs["State"]["StartedAt"] for service in SERVERS} == started


def test_nightly_backup_runs_with_the_units_rights(stack: Stack, tmp_path: Path) -> None:
    unit = directives("mlflow-replica-backup.service")
    folder = f"/var/lib/{unit['StateDirectory']}"
    assert unit["Environment"] == f"BACKUP_TARGET={folder}"
    assert unit["ExecStart"].endswith(" ${BACKUP_TARGET}")
    # As root the machine's folder is systemd's to make; here another one takes its place.
    run(unit | {"ExecStart": unit["ExecStart"].replace("${BACKUP_TARGET}", str(tmp_path))}, "ExecStart", stack)
    (snapshot,) = tmp_path.glob("mlflow-*Z")
    assert (snapshot / "database.dump").stat().st_size > 0
    assert snapshot.stat().st_mode & 0o077 == 0
