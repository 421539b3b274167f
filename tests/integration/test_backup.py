"""A backup of the database alone brings the runs back: after a change, and into a database that is new."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from .stack import ROOT, Stack, wait_until
from .test_lifecycle import store_something


def run(
    script: str, stack: Stack, *args: Path | str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a script on this stack, by default with the stack's settings in the environment."""
    return subprocess.run(
        [str(ROOT / "scripts" / script), *map(str, args)],
        env=environment or {**os.environ, **stack.settings},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def backup(crash_stack: Stack, tmp_path: Path) -> Path:
    """A backup's name."""
    crash_stack.wait_healthy()
    return tmp_path / "mlflow.dump"


def run_names(stack: Stack) -> set[str]:
    """Returns the names of all runs."""
    return {run.info.run_name for run in MlflowClient(stack.url).search_runs(["0"])}


def test_backup_is_restored_into_a_new_database(crash_stack: Stack, backup: Path) -> None:
    assert_stored = store_something(crash_stack, "before the backup")
    done = run("backup", crash_stack, "--database", backup)
    assert done.returncode == 0, done.stderr
    assert backup.stat().st_mode & 0o077 == 0
    store_something(crash_stack, "after the backup")
    crash_stack.compose("down")
    crash_stack.docker.volumes.get(f"{crash_stack.project}_postgres-data").remove()
    crash_stack.up()
    assert run_names(crash_stack) == set()
    store_something(crash_stack, "to be replaced")
    done = run("restore", crash_stack, backup)
    assert done.returncode == 0, done.stderr
    assert "drop cascades" not in done.stderr
    # What the planner goes by is there at once.
    assert crash_stack.sql("SELECT reltuples >= 1 FROM pg_class WHERE relname = 'experiments'") == [[True]]
    assert_stored()
    names = run_names(crash_stack)
    assert "before the backup" in names
    assert not names & {"after the backup", "to be replaced"}
    # The restored database can itself be backed up and restored, and what was replaced can be had back.
    (replaced,) = backup.parent.glob("mlflow.dump.replaced-*")
    done = run("restore", crash_stack, replaced)
    assert done.returncode == 0, done.stderr
    assert run_names(crash_stack) == {"to be replaced"}
    store_something(crash_stack, "after the restoration")()


def test_scripts_find_the_service_settings(crash_stack: Stack, backup: Path, tmp_path: Path) -> None:
    """Scripts find the settings of the service when the shell has none."""
    # As sudo runs them: it passes on no setting of the shell.
    bare = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
    bare["DESTDIR"] = str(tmp_path)
    done = run("backup", crash_stack, "--database", backup, environment=bare)
    assert done.returncode == 1
    settings = [f"{name}={value}" for name, value in crash_stack.settings.items()]
    subprocess.run([str(ROOT / "deploy" / "systemd" / "install"), *settings], env=bare, check=True)
    assert_stored = store_something(crash_stack, "before the backup of the service")
    for script, *args in (("backup", "--database", backup), ("restore", backup)):
        done = run(script, crash_stack, *args, environment=bare)
        assert done.returncode == 0, done.stderr
    assert_stored()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--keep", "0", "."), "--keep takes how many"),
        (("--keep", "all", "."), "--keep takes how many"),
        (("--keep", "3"), "it takes a folder, or --keep COUNT FOLDER"),
        (("--keep", "3", "nowhere"), "there is no folder"),
        (("nowhere.dump",), "--database FILE"),
        (("with:colon",), "there is no folder"),
        (("one", "two"), "it takes a folder"),
        (("--database", "one", "two"), "--database takes the file"),
        (("--verify",), "--verify takes a folder of backups"),
    ],
)
def test_wrong_use_of_backup_is_one_line(stack: Stack, args: tuple[str, ...], message: str) -> None:
    done = run("backup", stack, *args)
    assert done.returncode == 1
    assert re.fullmatch(rf"backup: error: .*{message}.*\n", done.stderr)


def test_broken_backup_is_refused_and_changes_nothing(crash_stack: Stack, backup: Path) -> None:
    assert_stored = store_something(crash_stack, "kept")
    assert run("backup", crash_stack, "--database", backup).returncode == 0
    content = backup.read_bytes()
    for broken in (content[: len(content) * 2 // 3], b"no dump", b""):
        backup.write_bytes(broken)
        done = run("restore", crash_stack, backup)
        assert done.returncode == 1
        assert re.fullmatch(r"restore: error: .* is no whole backup: nothing was changed\n", done.stderr)
        assert [file.name for file in backup.parent.iterdir()] == [backup.name]
    assert_stored()


@pytest.fixture
def docker_that(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Makes an environment in which `docker` first runs some lines of Bash, which see its arguments."""

    def environment(lines: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "docker"
        program.write_text(f'#!/bin/bash\nreal={shutil.which("docker")}\n{lines}\nexec "$real" "$@"\n')
        program.chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    return environment


def test_broken_restore_changes_nothing(
    crash_stack: Stack, backup: Path, docker_that: Callable[[str], dict[str, str]]
) -> None:
    """Restoration that breaks off changes nothing."""
    assert_stored = store_something(crash_stack, "kept while a restoration breaks off")
    assert run("backup", crash_stack, "--database", backup).returncode == 0
    # Whole when it is checked; then the file's disk, the connection or the client fails half-way.
    half = backup.stat().st_size // 2
    cut = docker_that(f'case $* in *"pg_restore --no-owner"*) head -c {half} | "$real" "$@"; exit;; esac')
    done = run("restore", crash_stack, backup, environment={**os.environ, **crash_stack.settings, **cut})
    assert done.returncode == 1
    assert done.stderr.endswith("restore: error: the restoration failed: the database is what it was\n")
    assert_stored()
    assert databases(crash_stack) == {"mlflow"}


def databases(stack: Stack) -> set[str]:
    """Returns the names of the databases, PostgreSQL's own left out."""
    rows = stack.sql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
    return {row[0] for row in rows}


def test_restore_that_cannot_back_up_changes_nothing(
    crash_stack: Stack, backup: Path, docker_that: Callable[[str], dict[str, str]]
) -> None:
    assert run("backup", crash_stack, "--database", backup).returncode == 0
    assert_stored = store_something(crash_stack, "kept while a backup fails")
    started = crash_stack.container("mlflow").attrs["State"]["StartedAt"]
    full = docker_that('case $* in *pg_dump*) echo "no space" >&2; exit 1;; esac')
    done = run("restore", crash_stack, backup, environment={**os.environ, **crash_stack.settings, **full})
    assert done.returncode == 1
    assert "restore: error: pg_dump failed: nothing was written" in done.stderr
    assert done.stderr.endswith("could not be backed up: the database is what it was\n")
    assert_stored()
    assert databases(crash_stack) == {"mlflow"}
    assert crash_stack.container("mlflow").attrs["State"]["StartedAt"] == started


def test_server_answers_during_a_restore(
    crash_stack: Stack, backup: Path, docker_that: Callable[[str], dict[str, str]]
) -> None:
    """Server answers while a backup is restored."""
    assert run("backup", crash_stack, "--database", backup).returncode == 0
    health = f"{crash_stack.url}/health"
    look = f'case $* in *"pg_restore --no-owner"*|*migrate*) curl -fsS --max-time 20 {health} >&2 || exit 1;; esac'
    seen = docker_that(look)
    done = run("restore", crash_stack, backup, environment={**os.environ, **crash_stack.settings, **seen})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("OK") == 2


# Where a restore is killed, by the command that it is about to give, and which database the server has afterwards.
MOMENTS = {
    "before": ("CREATE DATABASE", "old"),
    "restoring": ("pg_restore --no-owner", "old"),
    "migrating": ("run --rm --no-deps", "old"),
    "exchanging": ("RENAME", "new"),
    "backing up": ("pg_dump", "new"),
    "starting": ("exec .* kill 1", "new"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_restore_leaves_the_server_up(
    crash_stack: Stack, backup: Path, docker_that: Callable[[str], dict[str, str]], moment: str
) -> None:
    """SIGKILL at any moment: the database is the old one or the new one, and the server answers without an `up`."""
    store_something(crash_stack, f"backed up: {moment}")
    assert run("backup", crash_stack, "--database", backup).returncode == 0
    store_something(crash_stack, f"later: {moment}")
    pattern, expected = MOMENTS[moment]
    script = backup.with_name("script")
    # The command that it has given goes on, as the engine and PostgreSQL would.
    deadly = docker_that(f'if grep -q -e "{pattern}" <<<"$*"; then kill -9 "$(cat {script})"; fi')
    killed = subprocess.run(
        ["bash", "-c", f"echo $$ >{script}; exec {ROOT / 'scripts' / 'restore'} {backup}"],
        env={**os.environ, **crash_stack.settings, **deadly},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    later = {"old": {f"later: {moment}"}, "new": set()}[expected]

    def names() -> set[str]:
        try:
            return run_names(crash_stack)
        except MlflowException:
            return set()

    wait_until(
        lambda: {name for name in names() if name.endswith(f": {moment}")} == {f"backed up: {moment}"} | later,
        "it answers",
    )

    # And the next one finds nothing in its way, once what the killed one had started has ended.
    def done() -> bool:
        again = run("restore", crash_stack, backup)
        assert again.returncode == 0 or "another restore" in again.stderr, again.stderr
        return again.returncode == 0

    wait_until(done, "it is restored")
    assert {name for name in run_names(crash_stack) if name.endswith(f": {moment}")} == {f"backed up: {moment}"}
    assert databases(crash_stack) == {"mlflow"}
    # What was replaced by the killed one is backed up too.
    assert len(list(backup.parent.glob("mlflow.dump.replaced-*"))) >= (1 if expected == "old" else 2)


def test_second_restore_at_once_is_refused(
    crash_stack: Stack, backup: Path, docker_that: Callable[[str], dict[str, str]]
) -> None:
    """Second restore at the same time is told so."""
    assert run("backup", crash_stack, "--database", backup).returncode == 0
    reached, go = backup.with_name("reached"), backup.with_name("go")
    lines = f'case $* in *"pg_restore --no-owner"*) touch {reached}; until [ -e {go} ]; do sleep 0.1; done;; esac'
    first = subprocess.Popen(
        [str(ROOT / "scripts" / "restore"), str(backup)],
        env={**os.environ, **crash_stack.settings, **docker_that(lines)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(reached.exists, "the first one restores")
        second = run("restore", crash_stack, backup)
        assert second.returncode == 1
        message = "another restore of this stack is running: wait until it has ended; nothing was changed"
        assert second.stderr == f"restore: error: {message}\n"
    finally:
        go.touch()
        _, said = first.communicate(timeout=240)
    assert first.returncode == 0, said


@pytest.mark.parametrize(
    ("script", "args"),
    [("backup", ["--all"]), ("backup", ["a", "b"]), ("restore", []), ("restore", ["--all"]), ("restore", ["a", "b"])],
)
def test_wrong_arguments_write_nothing(crash_stack: Stack, tmp_path: Path, script: str, args: list[str]) -> None:
    """Wrong arguments are one line and write nothing."""
    environment = {**os.environ, **crash_stack.settings}
    command = [str(ROOT / "scripts" / script), *args]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"{script}: error: .*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_backup_overwrites_nothing(crash_stack: Stack, backup: Path) -> None:
    backup.write_text("precious")
    done = run("backup", crash_stack, "--database", backup)
    assert done.returncode == 1
    assert re.fullmatch(r"backup: error: .* is there already: name another\n", done.stderr)
    assert backup.read_text() == "precious"
