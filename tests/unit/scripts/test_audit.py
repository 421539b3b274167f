"""The check against public advisories: what it asks for, what it leaves out, and what its exit code says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Stands for uv, and so for pip-audit and its database: says what it was asked, and finds something in one file.
UV = """#!/bin/bash
echo "$*" >>"$ASKED"
case "$*" in *"--requirement $WEAK "*) exit 1 ;; esac
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the script, two lock files, and a pip-audit that finds what it is told to."""
    (tmp_path / "scripts").mkdir()
    for name in ("audit", "lib.sh", "audit-exceptions"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "services" / "one").mkdir(parents=True)
    for lock in ("requirements-dev.lock", "services/one/requirements.lock"):
        (tmp_path / lock).touch()
    uv = tmp_path / ".venv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(UV)
    uv.chmod(0o755)
    return tmp_path


def audit(repository: Path, *args: str, weak: str = "none") -> subprocess.CompletedProcess[str]:
    """Runs the script in that folder."""
    environment = {**os.environ, "ASKED": str(repository / "asked"), "WEAK": weak}
    return subprocess.run(
        [repository / "scripts" / "audit", *args],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def asked(repository: Path) -> list[str]:
    """Returns what pip-audit was asked, one call a line."""
    return (repository / "asked").read_text().splitlines()


def test_each_lock_file_is_audited(repository: Path) -> None:
    done = audit(repository)
    assert done.returncode == 0, done.stderr
    files = [line.split("--requirement ")[1].split()[0] for line in asked(repository)]
    assert files == ["requirements-dev.lock", "services/one/requirements.lock"]
    assert all("--disable-pip --require-hashes --strict" in line for line in asked(repository))


def test_weakness_fails_after_all_files(repository: Path) -> None:
    done = audit(repository, weak="requirements-dev.lock")
    assert done.returncode == 1
    assert "audit: error: known weaknesses, or no answer: requirements-dev.lock" in done.stderr
    assert len(asked(repository)) == 2


def test_exceptions_are_left_out(repository: Path) -> None:
    (repository / "scripts" / "audit-exceptions").write_text(
        "# a comment\n\nGHSA-1 not used here\nPYSEC-2 fixed by us\n"
    )
    assert audit(repository).returncode == 0
    assert all("--ignore-vuln GHSA-1 --ignore-vuln PYSEC-2" in line for line in asked(repository))


def test_exception_without_reason_is_refused(repository: Path) -> None:
    (repository / "scripts" / "audit-exceptions").write_text("GHSA-1\n")
    done = audit(repository)
    assert (done.returncode, "GHSA-1: no reason is given" in done.stderr) == (1, True)
    assert not (repository / "asked").exists()


def test_unknown_argument_is_refused(repository: Path) -> None:
    done = audit(repository, "--everything")
    assert (done.returncode, "unknown argument --everything" in done.stderr) == (1, True)


def test_this_repositorys_exceptions_have_reasons() -> None:
    lines = (ROOT / "scripts" / "audit-exceptions").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#") and len(line.split()) < 3] == []
