"""What a user runs also runs with macOS's own tools: bash 3.2, BSD's utilities, Python 3.9, Docker Desktop."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Those for Debian and systemd say so by themselves, and stop.
LINUX_ONLY = {"deploy/systemd/install", "scripts/ensure-engine"}
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("scripts", "deploy", "examples/curl", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
    and re.match(r"#!/usr/bin/env bash\n|# .*[.] Sourced, not run[.]\n", path.read_text(errors="replace"))
)
# Newer than bash 3.2, or GNU's only.
MISSING = re.compile(
    r"""
    \b(mapfile|readarray|coproc)\b | \b(declare|local|typeset)\ -[a-z]*[An] | \$\{\w+(,,?|\^\^?)\} | \|& | &>>
    | \[\[?\ -v\ | wait\ -n
    | \b(realpath|readlink\ -[a-z]*[fem]|sha256sum|timeout\ [0-9]|setsid|(?<!fcntl\.)flock|nproc|tac)\b
    | sed\ (-i|--in-place)\ | grep\ -[a-zA-Z]*P | xargs\ (-r|--no-run) | (head|tail)\ -n\ ?-[0-9] | sort\ -[a-z]*V
    | stat\ -c | date\ (-d|--date) | cp\ --parents | install\ -D | mktemp\ .*--
    | sed\ .*[^;{}\ ]\}'  # BSD's sed wants the command before a brace to end
    """,
    re.VERBOSE,
)


def test_scripts_are_found() -> None:
    assert {"scripts/up", "scripts/lib.sh", "deploy/gcp/provision", "examples/curl/track-run", *LINUX_ONLY} <= {
        *SCRIPTS
    }


@pytest.mark.parametrize("script", sorted({*SCRIPTS} - LINUX_ONLY))
def test_script_asks_for_nothing_that_macos_lacks(script: str) -> None:
    code = [line for line in (ROOT / script).read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in code if MISSING.search(line)] == []


# What scripts/up and scripts/bundle run.
RELEASING = [
    f"releasing/{name}.py"
    for name in ("bundle", "compose_file", "docker_engine", "version_facts", "pull", "release_files")
]


@pytest.mark.parametrize("name", ["summary.py", *RELEASING])
def test_module_runs_on_python_3_9(name: str) -> None:
    """It needs no annotation that Python 3.9 would evaluate."""
    tree = ast.parse((ROOT / "scripts" / name).read_text(), feature_version=(3, 9))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [name.name for node in imports for name in node.names] == ["annotations"]


@pytest.mark.parametrize(("engine", "expected"), [("Debian GNU/Linux 12", "container"), ("Docker Desktop", "venv")])
def test_verify_runs_where_localhost_is_this_machine(tmp_path: Path, engine: str, expected: str) -> None:
    for name in ("verify", "lib.sh"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    stubs = {
        "bin/docker": f"""case "$1 $2" in
            'info --format') echo '{engine}' ;;
            'compose --profile') echo mlflow-replica-trainer:local ;;
            'run --rm') echo container ;;
        esac""",
        "scripts/ensure-venv": "mkdir -p .venv/bin && ln -s ../../bin/trainer .venv/bin/trainer",
        "bin/trainer": "echo venv",
    }
    for name, text in stubs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [tmp_path / "scripts" / "verify"], env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == f"{expected}\n"
