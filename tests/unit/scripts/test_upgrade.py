"""scripts/upgrade: what cannot be done is said in one line, before anything is asked of the stack or changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
STATE = "backups/upgrade-mlflow-replica"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unpacked release with a stack of version 0.1.0 behind a `docker` that answers no more than that."""
    for name in (
        "scripts/upgrade",
        "scripts/upgrade-lib.sh",
        "scripts/upgrade-postgres",
        "scripts/lib.sh",
        "services/trainer/pyproject.toml",
        "CHANGELOG.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text(
        """#!/bin/bash
        case "$*" in
            'compose config') echo 'name: mlflow-replica' ;;
            'compose ps --status running --quiet postgres') echo 0123456789ab ;;
            *'SELECT version FROM replica.stack'*) echo "${RECORDED:-0.1.0}" ;;
            *'SELECT pg_database_size'*) echo 8 ;;
            *'df -Pk'*) echo "/dev/sda 9000000 1 ${DISK_FREE:-8000000} 1% /" ;;
            'info --format {{.MemTotal}}') echo "${ENGINE_MEMORY:-2000000000}" ;;
            *) exit 1 ;;
        esac
        """
    )
    docker.chmod(0o755)
    return tmp_path


def upgrade(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script of this folder, outside of any git clone."""
    path = f"{folder}/bin:{os.environ['PATH']}"
    return subprocess.run(
        [folder / "scripts/upgrade", *args],
        env={**os.environ, "PATH": path, "GIT_CEILING_DIRECTORIES": str(folder.parent), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Returns what a script that refuses has said: one line, after those that say what it is at."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("upgrade: ")]
    assert done.stderr.endswith(f"{line}\n")
    return line.removeprefix("upgrade: error: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--bakc",), "there is no option --bakc"),
        (("newest",), "a version is like 0.2.0 (got: newest)"),
        (("0.2.0", "0.3.0"), "name one version (got: 0.2.0 0.3.0)"),
        (("--back", "0.1.0"), "--back takes nothing else"),
        (("--back",), "there was no upgrade of this stack to go back from"),
        (("0.2.0",), "this folder is no git clone: unpack version 0.2.0 into it"),
    ],
)
def test_wrong_use_is_one_line(folder: Path, args: tuple[str, ...], message: str) -> None:
    done = upgrade(folder, *args)
    assert refusal(done).startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (folder / "backups").exists()


def test_older_files_than_the_data_are_refused(folder: Path) -> None:
    line = refusal(upgrade(folder, RECORDED="0.10.0"))
    assert line == "the data belong to version 0.10.0, and 0.1.0 is older: scripts/upgrade --back undoes an upgrade"


def test_breaking_changes_are_shown_and_stop(folder: Path) -> None:
    """The changelog is shown from the recorded version on, and breaking changes need --yes."""
    (folder / "CHANGELOG.md").write_text("# Log\n\n## 0.1.0 (soon)\n\n### Breaking\n\n- b\n\n## 0.0.9\n\n- a\n")
    done = upgrade(folder, RECORDED="0.0.9")
    assert refusal(done).startswith("it names breaking changes: read them, then scripts/upgrade --yes")
    assert "- b\n" in done.stderr
    assert "- a\n" not in done.stderr
    done = upgrade(folder, "--yes", RECORDED="0.0.9", DISK_FREE="7000")
    assert refusal(done).startswith("Docker's disk has 6 MiB left")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DISK_FREE": "7000"}, "Docker's disk has 6 MiB left, and new images and a second database can need 8"),
        ({"ENGINE_MEMORY": "900000000"}, "the machine has 858 MiB of memory, and 1500 are needed"),
    ],
)
def test_small_machine_is_refused(folder: Path, environment: dict[str, str], message: str) -> None:
    line = refusal(upgrade(folder, **environment))
    assert line.startswith(message)
    assert "nothing was changed" in line
    assert not list((folder / "backups").iterdir())


def git(folder: Path, *args: str) -> None:
    """Runs git in a folder, as someone."""
    someone = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    subprocess.run(["git", *someone, *args], cwd=folder, check=True, capture_output=True)


def test_changed_files_and_missing_tags_are_refused(folder: Path) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All")
    assert refusal(upgrade(folder, "0.2.0")).startswith("there is no tag 0.2.0 here")
    git(folder, "tag", "v0.2.0")
    (folder / "CHANGELOG.md").write_text("mine\n")
    assert refusal(upgrade(folder, "0.2.0")).startswith("files in this folder were changed")
    assert (folder / "CHANGELOG.md").read_text() == "mine\n"
    assert not (folder / "backups").exists()


@pytest.mark.parametrize(
    ("state", "args", "message"),
    [
        ("doing=forward\nto=0.2.0\nasked=0.2.0\n", ("0.3.0",), "an upgrade to 0.2.0 is half done: scripts/upgrade"),
        ("doing=back\nto=0.2.0\n", (), "the last upgrade is being undone: scripts/upgrade --back goes on"),
        ("doing=undone\n", ("--back",), "the last upgrade was undone already"),
        ("doing=done\nstarted=yes\ndump=/none.dump\n", ("--back",), "/none.dump is not there"),
        ("doing=done\nfrom=0.0.9\n", ("--back",), "these files are of version 0.1.0: bring those of 0.0.9"),
    ],
)
def test_state_that_forbids_it_is_one_line(folder: Path, state: str, args: tuple[str, ...], message: str) -> None:
    (folder / STATE).parent.mkdir()
    (folder / STATE).write_text(state)
    assert refusal(upgrade(folder, *args)).startswith(message)
    assert set(state.splitlines()) <= set((folder / STATE).read_text().splitlines())


def test_second_upgrade_at_once_is_refused(folder: Path) -> None:
    (folder / STATE).parent.mkdir()
    # Its command line is all that tells it from another program with that process id.
    with subprocess.Popen(["bash", "-c", "read -r line", "scripts/upgrade"], stdin=subprocess.PIPE) as other:
        (folder / STATE).write_text(f"doing=forward\nto=0.2.0\nprocess={other.pid}\n")
        line = refusal(upgrade(folder))
        other.communicate()
    assert line == f"another upgrade of this stack is running (process {other.pid}): wait until it has ended"
