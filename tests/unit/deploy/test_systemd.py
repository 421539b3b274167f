"""deploy/systemd: systemd takes the unit, and the installer writes it and its settings whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
UNITS = (
    "mlflow-replica.service",
    *(f"mlflow-replica-{name}.{kind}" for name in ("backup", "drill") for kind in ("service", "timer")),
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which a docker is installed, and the machine's own folders are out of reach."""
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    return {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}", "DESTDIR": str(tmp_path)}


def install(environment: dict[str, str], *args: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs the installer."""
    command = [str(root / "deploy" / "systemd" / "install"), *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def verify(unit: Path) -> str:
    """Returns what systemd-analyze has to say against a unit; skips the test where it is not installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: systemd cannot judge the unit")
    # Docker's own unit need not be on the machine.
    for name in ("docker.service", "docker.socket"):
        (unit.parent / name).write_text("[Service]\nExecStart=/bin/true\n" if name.endswith("service") else "")
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{unit.parent}:"}
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return "".join(line for line in done.stderr.splitlines(keepends=True) if unit.name in line) or (
        "failed" if done.returncode else ""
    )


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_unit(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    for one in UNITS:
        (tmp_path / one).write_text(install(environment, "--print", one).stdout)
    unit = tmp_path / name
    assert "@" not in re.sub("@system-service", "", unit.read_text())
    assert verify(unit) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("ProtectClock=", "ProtectClok="), ("TimeoutStopSec=2min", "TimeoutStopSec=soon"), ("ExecStart=/", "ExecStart=")],
)
def test_systemd_refuses_a_mistake_in_the_unit(
    environment: dict[str, str], tmp_path: Path, right: str, wrong: str
) -> None:
    unit = tmp_path / "mlflow-replica.service"
    text = install(environment, "--print").stdout
    assert right in text
    unit.write_text(text.replace(right, wrong, 1))
    assert verify(unit) != ""


def test_install_fills_in_paths(environment: dict[str, str], tmp_path: Path) -> None:
    """Install fills in the paths and keeps the settings."""
    unit, settings = (
        tmp_path / "etc" / name for name in ("systemd/system/mlflow-replica.service", "default/mlflow-replica")
    )
    assert install(environment, "COMPOSE_PROFILES=gcs", "GCS_BUCKET=one").returncode == 0
    assert f"WorkingDirectory={ROOT}\n" in unit.read_text()
    assert f"ExecStart={tmp_path}/bin/docker compose up " in unit.read_text()
    assert sorted(path.name for path in unit.parent.iterdir()) == sorted(UNITS)
    assert f"ExecStart={ROOT}/scripts/backup " in (unit.parent / "mlflow-replica-backup.service").read_text()
    assert settings.read_text() == "COMPOSE_PROFILES=gcs\nGCS_BUCKET=one\n"
    assert install(environment, "GCS_BUCKET=two").returncode == 0
    assert settings.read_text() == "COMPOSE_PROFILES=gcs\nGCS_BUCKET=two\n"


def test_drill_restores_what_the_backup_writes(environment: dict[str, str]) -> None:
    backup, drill = (
        install(environment, "--print", f"mlflow-replica-{name}.service").stdout for name in ("backup", "drill")
    )
    (folder,) = re.findall(r"^ExecStart=.*/scripts/backup --keep \d+ (\S+)$", backup, re.MULTILINE)
    assert f"ExecStart={ROOT}/scripts/backup --verify {folder}\n" in drill


@pytest.mark.parametrize("wrong", ["gcs", "GCS BUCKET=one", "GCS_BUCKET=one two", "--help"])
def test_wrong_setting_is_one_line_and_writes_nothing(environment: dict[str, str], tmp_path: Path, wrong: str) -> None:
    done = install(environment, "COMPOSE_PROFILES=gcs", wrong)
    assert done.returncode == 1
    assert re.fullmatch(r"install: error: .* is no setting: .*\n", done.stderr)
    assert not (tmp_path / "etc").exists()


def test_unknown_unit_is_one_line(environment: dict[str, str]) -> None:
    done = install(environment, "--print", "other.service")
    assert done.returncode == 1
    assert re.fullmatch(r"install: error: --print takes one of .*\n", done.stderr)


@pytest.mark.parametrize(("name", "code"), [("with a blank", 1), ("a&b|c", 0)])
def test_folder_is_written_as_it_is_or_refused(
    environment: dict[str, str], tmp_path: Path, name: str, code: int
) -> None:
    copy = tmp_path / name
    for folder in ("deploy", "scripts"):
        shutil.copytree(ROOT / folder, copy / folder)
    done = install(environment, root=copy)
    assert done.returncode == code
    if code:
        assert "move the folder" in done.stderr
        assert not (tmp_path / "etc").exists()
    else:
        unit = tmp_path / "etc/systemd/system/mlflow-replica.service"
        assert f"WorkingDirectory={copy}\n" in unit.read_text()
