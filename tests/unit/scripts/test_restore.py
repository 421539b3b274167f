"""scripts/restore: what is no backup is said in one line, before anything is asked or changed."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RESTORE = Path(__file__).parents[3] / "scripts" / "restore"


@pytest.mark.parametrize("arguments", [(), ("",), ("no-such-file",)])
def test_missing_backup_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([RESTORE, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == "restore: error: name the folder or file that scripts/backup wrote\n"


def test_empty_folder_is_one_line(tmp_path: Path) -> None:
    """A folder without a backup is named, the folder that one is in as well."""
    done = subprocess.run([RESTORE, tmp_path], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == f"restore: error: there is no backup in {tmp_path}\n"


@pytest.fixture
def restore(tmp_path: Path) -> Callable[[str, str], tuple[str, list[str]]]:
    """Restores a snapshot with a Docker that answers for PostgreSQL's locks, and fails at what comes after them.

    Returns what was said, and Docker's arguments.
    """

    def run(first: str, second: str) -> tuple[str, list[str]]:
        asked = tmp_path / "asked"
        docker = tmp_path / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(
            f"""#!/bin/bash
            printf '%s\\n' "${{*//$'\\n'/ }}" >>{asked}
            case $* in
                *"ps --status running"*) echo running ;;
                *--dbname=\\"template1*) read -r; [ {first} != gone ] || exit; echo {first}; cat >/dev/null ;;
                *--dbname=\\"\\$POSTGRES_DB*) read -r; echo {second}; cat >/dev/null ;;
                *) exit 1 ;;
            esac
            """
        )
        docker.chmod(0o755)
        snapshot = tmp_path / "mlflow-20261129T030000Z"
        snapshot.mkdir()
        (snapshot / "manifest.jsonl.gz").touch()
        environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [RESTORE, tmp_path], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 1
        return done.stderr, asked.read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("f", "t", "another restore of this stack is running"),
        ("t", "f", "another restore, a backup or garbage collection is at work on this stack"),
        ("gone", "t", "PostgreSQL does not answer"),
    ],
)
def test_turn_is_taken_before_artifacts(
    restore: Callable[[str, str], tuple[str, list[str]]], first: str, second: str, said: str
) -> None:
    """Nothing is put back while another restore, a backup or garbage collection is at work."""
    message, asked = restore(first, second)
    assert message.startswith(f"restore: error: {said}")
    assert message.endswith("nothing was changed\n")
    assert not [line for line in asked if " backup restore " in line]


def test_artifacts_come_once_it_is_its_turn(restore: Callable[[str, str], tuple[str, list[str]]]) -> None:
    message, asked = restore("t", "t")
    assert message.startswith("==> restoring the artifacts of ")
    assert [line for line in asked if " backup restore mlflow-20261129T030000Z" in line]
    assert [line for line in asked if f" --user {os.getuid()}:{os.getgid()} " in line]


@pytest.mark.skipif(os.getuid() != 0, reason="only root works for other users")
def test_root_works_as_the_owner(tmp_path: Path, restore: Callable[[str, str], tuple[str, list[str]]]) -> None:
    """Root in a container without capabilities could not read a folder that another user has carried here."""
    os.chown(tmp_path, 4321, 4322)
    _, asked = restore("t", "t")
    assert [line for line in asked if " --user 4321:4322 " in line]
