"""A backup holds the people: after a restore they log in with the passwords, roles and tokens that they had."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from .conftest import NewStack
from .people import AUTH_ON, PASSWORD, Persons, authority_of, user
from .stack import Stack, StackError, wait_until
from .test_backup import docker_that, run
from .test_snapshots import snapshots, take

__all__ = ["docker_that"]

LATER = "another horse battery"


@pytest.fixture(scope="module")
def persons(new_stack: NewStack) -> Iterator[Persons]:
    """A stack with a login everywhere, and its people."""
    with new_stack(settings=AUTH_ON) as stack:
        stack.up()
        yield Persons(stack)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for backups."""
    path = tmp_path / "backups"
    path.mkdir()
    return path


def me(stack: Stack, folder: Path, name: str, password: str) -> str:
    """Returns who the server says that a login at the proxy is."""
    authority = authority_of(stack, folder)
    address = f"https://localhost:{stack.port('proxy', 443)}/people/me"
    return requests.get(address, auth=(name, password), verify=authority, timeout=60).text.strip()


def restore(stack: Stack, *args: Path | str) -> subprocess.CompletedProcess[str]:
    done = run("restore", stack, *args)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_people_come_back_on_an_empty_machine(persons: Persons, folder: Path, tmp_path: Path) -> None:
    """With the password, the role and the token of the backup, and no others; nobody else reads the hashes there."""
    stack = persons.stack
    take(stack, folder)
    (snapshot,) = snapshots(folder)
    assert (snapshot / "users").stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in (snapshot / "users").read_text()
    stack.compose("--profile", "*", "down", "--volumes")
    stack.up()
    # The empty machine has an administrator of its own by then.
    wait_until(lambda: user(stack, "list") == "admin admin", "the first administrator is there")
    user(stack, "add", "mallory", "--role", "admin", password=PASSWORD)
    restore(stack, folder)
    assert user(stack, "list").splitlines() == ["ada admin", "mia member", "ron release", "vera viewer"]
    for name, role in (("mia", "member"), ("ron", "release")):
        wait_until(lambda: me(stack, tmp_path, name, PASSWORD) == f"{name} {role}", f"{name} logs in")  # noqa: B023
    assert "a login is needed" in me(stack, tmp_path, "mallory", PASSWORD)
    assert persons.ask("vera", "GET", "/people/me").text.strip() == "vera viewer"
    with pytest.raises(StackError, match="no first password is kept"):
        user(stack, "first-admin")
    # What was replaced is kept beside the backup, as the database is.
    (kept,) = folder.glob("*.replaced-*.users")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [line.split()[0] for line in kept.read_text().splitlines() if line[0] != "#"] == ["admin", "mallory"]


def test_backup_without_users_leaves_them(persons: Persons, folder: Path, tmp_path: Path) -> None:
    """One that an earlier version took: the database is restored, and passwords stay as they are."""
    stack = persons.stack
    take(stack, folder)
    (snapshot,) = snapshots(folder)
    (snapshot / "users").unlink()
    file = snapshot / "manifest.jsonl.gz"
    first, *others = gzip.decompress(file.read_bytes()).decode().splitlines()
    header = {key: value for key, value in json.loads(first).items() if key != "users"}
    file.write_bytes(gzip.compress("\n".join([json.dumps(header), *others, ""]).encode()))
    user(stack, "add", "mia", password=LATER)
    try:
        done = restore(stack, "--discard", folder)
        assert "the backup holds no logins at the proxy: they stay as they are" in done.stderr
        wait_until(lambda: me(stack, tmp_path, "mia", LATER) == "mia member", "mia logs in")
    finally:
        user(stack, "add", "mia", password=PASSWORD)


def test_broken_restore_leaves_users(
    persons: Persons, folder: Path, tmp_path: Path, docker_that: Callable[[str], dict[str, str]]
) -> None:
    """Ended before the databases are exchanged, or while the users are put back: all of them, or none; then again."""
    stack = persons.stack
    take(stack, folder)
    user(stack, "add", "mia", password=LATER)
    for lines in (
        'case $* in *RENAME*) kill -KILL "$PPID"; exit 1 ;; esac',
        'case $* in *"user import") head -n 2 | "$real" "$@"; exit ;; esac',
    ):
        environment = {**os.environ, **stack.settings, **docker_that(lines)}
        done = run("restore", stack, "--discard", folder, environment=environment)
        assert done.returncode != 0
        wait_until(lambda: me(stack, tmp_path, "mia", LATER) == "mia member", "mia logs in as since")
    last = done.stderr.splitlines()[-1]
    assert last == "restore: error: the database is restored, the logins at the proxy are not: the same command again"
    restore(stack, "--discard", folder)
    wait_until(lambda: me(stack, tmp_path, "mia", PASSWORD) == "mia member", "mia logs in as before")


def test_drill_has_the_logins(persons: Persons, folder: Path) -> None:
    """The drill's stack gets them, and a backup whose users are damaged fails it."""
    stack = persons.stack
    take(stack, folder)
    done = run("backup", stack, "--verify", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "restoring the logins at the proxy" in done.stderr
    # Which another test has.
    assert "without scripts/verify: with AUTH=on it needs a login" in done.stderr
    (snapshot,) = snapshots(folder)
    (snapshot / "users").write_text("")
    done = run("backup", stack, "--verify", folder)
    assert done.returncode == 1
    assert f"the proxy's users in {snapshot.name} are missing or damaged: nothing was changed" in done.stderr
