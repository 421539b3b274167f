"""Each script answers to --help with what it is for, from any folder, and does nothing; what it says is so."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from trainer.cli.verify import verify_command
from uv import find_uv_bin

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


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_names_what_there_is(script: Path) -> None:
    """Its options are ones that the script takes or passes on, and its files exist."""
    text = script.read_text()
    head, found, code = text.partition("\nset -")
    if not found:
        pytest.skip("not a shell script")
    code = "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("#"))
    if script.parent.name == "gcp":
        code += (ROOT / "deploy/gcp/settings.sh").read_text()
    if script.name == "benchmark":
        code += "".join(file.read_text() for file in (ROOT / "tests/benchmark").glob("*.py"))
    if script.name == "verify":
        code += " ".join(option for param in verify_command.params for option in (*param.opts, "--help"))
    if script.name == "lock":
        code += subprocess.run([find_uv_bin(), "pip", "compile", "--help"], capture_output=True, text=True).stdout
    if "releasing" in code:
        code += "".join(file.read_text() for file in (ROOT / "scripts/releasing").glob("*.py"))
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", head))
    assert {option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", code)} == set()
    names = re.findall(r"\b(?:scripts|deploy|docs|tests|services)/[\w./-]*\w", head)
    assert [name for name in names if not (ROOT / name).exists()] == []
