"""scripts/ensure-venv: two at once in one folder make one venv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
# Stands for python3: notes what it is called with, and makes a venv of programs that do nothing once it is allowed to.
PYTHON = f"""#!/bin/bash
echo "$*" >>calls
case $* in
    "-m venv"*)
        until [ -e allowed ]; do sleep 0.02; done
        mkdir -p .venv/bin
        for name in pip uv python; do printf '#!/bin/bash\\n' >.venv/bin/$name; chmod +x .venv/bin/$name; done
        ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


def test_two_at_once_install_once(tmp_path: Path) -> None:
    """The second waits for the first, and then finds what it has made."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "services/trainer").mkdir(parents=True)
    for name in ("scripts/ensure-venv", "scripts/lib.sh", "requirements-dev.lock", "services/trainer/pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/python3").write_text(PYTHON)
    (tmp_path / "programs/python3").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/programs:{os.environ['PATH']}"}
    calls = tmp_path / "calls"

    def noted(word: str) -> int:
        return sum(word in line for line in calls.read_text().splitlines()) if calls.exists() else 0

    def wait(word: str, count: int) -> None:
        deadline = time.monotonic() + 60
        while noted(word) < count:
            assert time.monotonic() < deadline, f"{word}: {noted(word)}"
            time.sleep(0.02)

    start = [tmp_path / "scripts/ensure-venv"]
    first = subprocess.Popen(start, env=environment, stderr=subprocess.DEVNULL)
    wait("-m venv", 1)
    second = subprocess.Popen(start, env=environment, stderr=subprocess.DEVNULL)
    wait("flock", 2)
    (tmp_path / "allowed").touch()
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert noted("-m venv") == 1
