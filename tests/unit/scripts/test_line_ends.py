"""A clone on Windows has scripts that the containers' bash takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_no_windows_line_ends_whatever_git_says(tmp_path: Path) -> None:
    """No line ends as on Windows whatever git is told."""
    # What Git for Windows sets, unless its user objects.
    command = ["git", "clone", "--quiet", "--config", "core.autocrlf=true", str(ROOT), str(tmp_path / "clone")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("not a git checkout")
    files = [file for file in (tmp_path / "clone").rglob("*") if file.is_file() and ".git" not in file.parts]
    assert len(files) > 100
    assert [file.name for file in files if file.suffix != ".png" and b"\r\n" in file.read_bytes()] == []
