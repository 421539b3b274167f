"""scripts/doctor looks at a running stack, and finds what is broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .stack import Stack
from .test_backup import run

if TYPE_CHECKING:
    from docker.models.containers import Container


def findings(stack: Stack) -> tuple[int, dict[str, dict[str, str]]]:
    """Returns the exit code, and what each check found."""
    done = run("doctor", stack, "--json")
    return done.returncode, {one["check"]: one for one in json.loads(done.stdout)}


def test_doctor_finds_a_healthy_stack_well(stack: Stack, proxy: Container) -> None:
    code, found = findings(stack)
    assert set(found) == {
        *("engine", "services", "memory", "disk", "ports", "clock"),
        *("versions", "certificates", "last backup", "stale runs"),
    }
    for name in ("engine", "services", "ports", "clock", "versions"):
        assert found[name]["state"] == "OK", found[name]
    # The proxy's own authority makes one for localhost.
    assert found["certificates"]["found"].startswith("valid for"), found["certificates"]
    assert code == int(any(one["state"] == "error" for one in found.values()))


def test_doctor_names_what_is_down(crash_stack: Stack) -> None:
    crash_stack.wait_healthy()
    crash_stack.compose("stop", "mlflow")
    try:
        code, found = findings(crash_stack)
        assert code == 1
        assert found["services"]["state"] == "error"
        assert found["services"]["found"] == "not healthy: mlflow"
        assert found["services"]["remedy"] == "docker compose logs mlflow"
        assert found["stale runs"]["state"] == "error"
        table = run("doctor", crash_stack).stdout
        assert "error    not healthy: mlflow\n" in table
    finally:
        crash_stack.up()
