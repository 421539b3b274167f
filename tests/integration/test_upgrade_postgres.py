"""PostgreSQL 17's data go to 18 and back; killed after any step, the move is finished or undone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from .next_version import upgrade
from .stack import Stack
from .test_lifecycle import store_something
from .test_upgrade import register_something, run_names

FORWARD = [
    "building",
    "stopping",
    "starting PostgreSQL 18",
    "moving the database mlflow",
    "exchanging",
    "starting the stack",
]
BACK = ["writing what was logged", "exchanging", "starting the stack"]

# The image of 18 and its volume are apart from the storage.
pytestmark = pytest.mark.minio


def run_script(clone: Path, stack: Stack, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs one of the clone's scripts on the stack."""
    files = stack.settings["COMPOSE_FILE"].replace(str(Path(__file__).resolve().parents[2]), str(clone))
    return subprocess.run(
        [str(clone / "scripts" / name), *args],
        env={**os.environ, **stack.settings, "COMPOSE_FILE": files},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def major(stack: Stack) -> int:
    """Returns the major version of the PostgreSQL that the server uses."""
    ((number,),) = stack.sql("SELECT current_setting('server_version_num')::int / 10000")
    return int(number)


def test_data_move_to_18_and_back(clone: Path, older: Stack) -> None:
    """Killed after each step the same command goes on; every run, model and alias is there, before and after."""
    assert_stored, assert_registered = store_something(older, "before"), register_something(older)
    settings = (clone / ".env").read_text()
    for step in FORWARD:
        code, said = upgrade(clone, older, "--postgres", "18", kill_at=step)
        assert code == -signal.SIGKILL, said
    code, said = upgrade(clone, older, "--postgres", "18")
    assert code == 0, said
    assert "moved to PostgreSQL 18; .env says so" in said
    assert major(older) == 18
    assert (clone / ".env").read_text() == f"{settings}POSTGRES_MAJOR=18\nPOSTGRES_VOLUME=postgres-data-18\n"
    assert_stored()
    assert_registered()
    code, said = upgrade(clone, older, "--postgres", "18")
    assert (code, "nothing to do" in said) == (0, True), said

    # Without the settings, the former data do not start: what was logged since would be missing.
    former = older.compose("run", "--rm", "--no-deps", "-T", "postgres", check=False)
    assert former.returncode == 1
    (line,) = [line for line in former.stderr.splitlines() if "error" in line]
    assert line.startswith("postgres: error: these data were moved to PostgreSQL 18, which has a volume of its own")
    store_something(older, "since")
    done = run_script(clone, older, "backup")
    assert done.returncode == 0, done.stderr

    for step in BACK:
        code, said = upgrade(clone, older, "--postgres", "--back", kill_at=step)
        assert code == -signal.SIGKILL, said
    code, said = upgrade(clone, older, "--postgres", "--back")
    assert code == 0, said
    assert major(older) == 17
    assert (clone / ".env").read_text() == settings
    assert_stored()
    assert_registered()
    assert "since" not in run_names(older)
    # It is in a file, which 17 takes.
    (file,) = (clone / "backups").glob("postgres-18-*.dump")
    restored = run_script(clone, older, "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    assert {"before", "since"} <= run_names(older)
    assert_registered()

    volume = f"{older.project}_postgres-data-18"
    assert volume in older.volumes()
    code, said = upgrade(clone, older, "--postgres", "--discard")
    assert code == 0, said
    assert volume not in older.volumes()
    assert major(older) == 17


def test_move_is_undone_half_way(clone: Path, older: Stack) -> None:
    """Before the exchange --back leaves nothing of the move, and the data are what they were."""
    assert_stored = store_something(older, "half-way")
    for step in FORWARD[2:4]:
        code, said = upgrade(clone, older, "--postgres", "18", kill_at=step)
        assert code == -signal.SIGKILL, said
        code, said = upgrade(clone, older, "--postgres", "--back")
        assert code == 0, said
        assert f"{older.project}_postgres-data-18" not in older.volumes()
        assert_stored()
    assert major(older) == 17
