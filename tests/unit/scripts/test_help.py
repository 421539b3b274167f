"""Each script answers to --help with what it is for, from any folder, and does nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted(
    path
    for folder in ("scripts", "deploy/gcp", "deploy/systemd")
    for path in (ROOT / folder).iterdir()
    if path.is_file() and os.access(path, os.X_OK)
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_a_script_is_for(script: Path, option: str, tmp_path: Path) -> None:
    # From elsewhere, by a relative path, as one of PATH's folders may be named.
    command = [os.path.relpath(script, tmp_path), option]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0][0].isupper()
    assert any(script.name in line for line in lines) or script.name.startswith(("ensure-", "lint"))
    assert not list(tmp_path.iterdir())
