"""scripts/upgrade --postgres: what cannot be done is said in one line, and nothing is asked of the stack or changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release's folder with a stack of PostgreSQL 17 behind a `docker` that answers no more than that."""
    for name in ("scripts/upgrade", "scripts/upgrade-postgres", "scripts/upgrade-lib.sh", "scripts/lib.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(
        """#!/bin/bash
        case "$*" in
            'compose config') echo 'name: mlflow-replica' ;;
            'compose config --services') echo ${SERVICES:-postgres} ;;
            'compose ps --status running --quiet postgres') [ -n "${SERVICES:-}" ] || echo 0123456789ab ;;
            'exec --interactive 0123456789ab bash -c '*df*) echo "/dev/sda 9000000 1 ${DISK_FREE:-8000000} 1% /" ;;
            'exec --interactive 0123456789ab bash -c '*)
                case $(cat) in
                    *server_version_num*) echo 17 ;;
                    *pg_database_size*) echo 100 ;;
                esac ;;
            *) echo "asked: $*" >&2; exit 1 ;;
        esac
        """
    )
    docker.chmod(0o755)
    return tmp_path


def upgrade(folder: Path, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(folder / "scripts/upgrade"), "--postgres", *args],
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        ((), {}, "--postgres takes a major version, --back or --discard (got: )"),
        (("18", "now"), {}, "it takes a major version, --back or --discard (got: 18 now)"),
        (("18.1",), {}, "a major version is like 18 (got: 18.1)"),
        (("--undo",), {}, "--postgres takes a major version, --back or --discard (got: --undo)"),
        (("16",), {}, "the data are PostgreSQL 17's, and 16 is older"),
        (("--back",), {}, "there was no move of this stack to go back from"),
        (("--discard",), {}, "there is no volume to discard"),
        (("18",), {"POSTGRES_MAJOR": "17"}, "POSTGRES_MAJOR or POSTGRES_VOLUME is set in this shell"),
        (("18",), {"SERVICES": "mlflow"}, "this stack uses a PostgreSQL that it does not run"),
        (("18",), {"DISK_FREE": "1000"}, "Docker's disk has 0 MiB left, and a second database can need 200"),
    ],
)
def test_what_cannot_be_is_one_line(
    folder: Path, args: tuple[str, ...], settings: dict[str, str], message: str
) -> None:
    done = upgrade(folder, *args, **settings)
    assert done.returncode == 1
    assert done.stderr.removeprefix("upgrade-postgres: error: ").removeprefix("upgrade: error: ").startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "backups").exists()


def test_data_of_that_version_stay(folder: Path) -> None:
    done = upgrade(folder, "17")
    assert (done.returncode, done.stderr) == (0, "==> the data are PostgreSQL 17's already: nothing to do\n")


@pytest.mark.parametrize(
    ("state", "args", "message"),
    [
        ("preparing", ("19",), "a move to PostgreSQL 18 is half done"),
        ("exchanging", ("--discard",), "a move is half done"),
        ("returning", ("18",), "the last move is being undone"),
        ("undone", ("--back",), "the last move was undone already"),
        ("discarded", ("--back",), "the former data were discarded"),
    ],
)
def test_half_done_move_is_told(folder: Path, state: str, args: tuple[str, ...], message: str) -> None:
    """A command that does not go on with a move that is half done says which one does."""
    file = folder / "backups/postgres-mlflow-replica"
    file.parent.mkdir()
    file.write_text(f"doing={state}\nfrom=17\nto=18\nvolume=postgres-data-18\n")
    done = upgrade(folder, *args)
    assert done.returncode == 1
    assert done.stderr.startswith(f"upgrade-postgres: error: {message}")
    assert f"doing={state}\n" in file.read_text()
