"""An upgrade to a higher version keeps every run, model and alias; killed after any step, it is finished or undone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import requests
from mlflow import MlflowClient

from .conftest import NewStack
from .next_version import git, make_clone
from .stack import ROOT, Stack
from .test_lifecycle import store_something
from .test_version import VERSION

NEXT = "99.0.0"
FORWARD = ["backing up", "bringing the files", "building", "stopping", "starting", "verifying"]
BACK = ["bringing the files", "bringing the images", "restoring into", "exchanging", f"starting {VERSION}"]


@pytest.fixture(scope="module")
def clone(tracked_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of these files on the branch `main`, with a tag of a higher version."""
    folder = tmp_path_factory.mktemp("clone")
    make_clone(tracked_files, folder, NEXT)
    return folder


@contextmanager
def with_own_images(new_stack: NewStack, **settings: str) -> Iterator[Stack]:
    """A stack under image names of its own: an upgrade builds some of them anew."""
    engine = docker.from_env()
    with new_stack(settings={"IMAGE_TAG": os.environ.get("IMAGE_TAG", "test"), **settings}) as stack:
        own = stack.project
        try:
            for image in engine.images.list():
                for name in image.tags:
                    repository, _, tag = name.rpartition(":")
                    if tag == stack.environment["IMAGE_TAG"] and repository.startswith("mlflow-replica-"):
                        image.tag(repository, own)
            stack.environment["IMAGE_TAG"] = own
            stack.up()
            yield stack
        finally:
            stack.remove()
            for image in engine.images.list():
                for name in image.tags:
                    if name.rpartition(":")[2].startswith(own):
                        engine.images.remove(name, force=True)
            # Those that --back has taken the name from.
            label = f"org.opencontainers.image.version={NEXT}"
            engine.images.prune(filters={"dangling": True, "label": label})


@pytest.fixture(scope="module")
def older(clone: Path, new_stack: NewStack) -> Iterator[Stack]:
    """A stack of the clone's own."""
    with with_own_images(new_stack) as stack:
        yield stack


def upgrade(clone: Path, stack: Stack, *args: str, kill_at: str = "") -> tuple[int, str]:
    """Runs the clone's script on the stack; kills it with all that it has started once it says what `kill_at` matches.

    Returns:
        The exit code, and all that it has said.
    """
    settings = stack.settings | {"COMPOSE_FILE": stack.settings["COMPOSE_FILE"].replace(str(ROOT), str(clone))}
    command = [str(clone / "scripts/upgrade"), *args]
    said = ""
    with subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            if kill_at and re.match(f"==> ({kill_at})", line):
                os.killpg(process.pid, signal.SIGKILL)
                break
        else:
            assert not kill_at, f"it never said {kill_at!r}:\n{said}"
    return process.returncode, said


def register_something(stack: Stack) -> Callable[[], None]:
    """Registers a model with an alias; returns a function that proves that both are there."""
    client = MlflowClient(stack.url)
    run = client.create_run("0").info
    client.log_text(run.run_id, "flavors: {}", "model/MLmodel")
    client.create_registered_model("upgraded")
    client.create_model_version("upgraded", f"{run.artifact_uri}/model", run.run_id)
    client.set_registered_model_alias("upgraded", "champion", "1")

    def assert_registered() -> None:
        version = MlflowClient(stack.url).get_model_version_by_alias("upgraded", "champion")
        assert (version.version, version.run_id) == ("1", run.run_id)
        file = {"run_uuid": run.run_id, "path": "model/MLmodel"}
        assert requests.get(f"{stack.url}/get-artifact", file, timeout=60).text == "flavors: {}"

    return assert_registered


def run_names(stack: Stack) -> set[str]:
    """Returns the names of all runs."""
    return {run.info.run_name for run in MlflowClient(stack.url).search_runs(["0"])}


def versions(stack: Stack) -> set[str]:
    """Returns the versions that the server, its image and the database say."""
    image = stack.container("mlflow").labels["org.opencontainers.image.version"]
    said = stack.exec("mlflow", "replica-server", "version").split()[1].rstrip(",")
    ((recorded,),) = stack.sql("SELECT version FROM replica.stack")
    return {image, said, recorded}


@pytest.mark.minio
def test_upgrade_killed_after_each_step(clone: Path, older: Stack) -> None:
    """Each time the same command goes on, to the higher version and back again; nothing that was stored is lost."""
    assert_stored, assert_registered = store_something(older, "before"), register_something(older)
    secret = older.postgres_password
    for step in FORWARD:
        code, said = upgrade(clone, older, NEXT, kill_at=step)
        assert code == -signal.SIGKILL, said
        if step == "building":
            # The stack goes on meanwhile: what is logged after the backup is there as well, later on.
            store_something(older, "meanwhile")
    code, said = upgrade(clone, older, NEXT)
    assert code == 0, said
    assert f"upgraded to {NEXT}" in said
    assert "the way back: scripts/upgrade --back" in said
    assert versions(older) == {NEXT}
    assert_stored()
    assert_registered()
    code, said = upgrade(clone, older, NEXT)
    assert (code, "nothing to do" in said) == (0, True)

    store_something(older, "since")
    for step in BACK:
        code, said = upgrade(clone, older, "--back", kill_at=step)
        assert code == -signal.SIGKILL, said
    code, said = upgrade(clone, older, "--back")
    assert code == 0, said
    assert versions(older) == {VERSION}
    assert git(clone, "branch", "--show-current") == "main\n"
    assert_stored()
    assert_registered()
    assert older.postgres_password == secret
    names = run_names(older)
    assert {"before", "meanwhile"} <= names
    assert "since" not in names
    # It is kept.
    assert list((clone / "backups").glob("before-upgrade-*.dump.replaced-*"))


@pytest.mark.minio
def test_upgrade_is_undone_half_way(clone: Path, older: Stack) -> None:
    """An upgrade that has not started the new version is undone, with all that was logged meanwhile."""
    older.wait_healthy()
    server = older.container("mlflow").id
    for number, step in enumerate(FORWARD[:3]):
        code, said = upgrade(clone, older, NEXT, kill_at=step)
        assert code == -signal.SIGKILL, said
        assert f"from version {VERSION} to {NEXT}" in said
        assert "- A change." in said
        store_something(older, f"meanwhile {number}")
        code, said = upgrade(clone, older, "--back")
        assert code == 0, said
        assert f"meanwhile {number}" in run_names(older)
    assert older.container("mlflow").id == server
    assert versions(older) == {VERSION}


@pytest.mark.minio
def test_upgrade_that_fails_leaves_a_way_back(clone: Path, older: Stack) -> None:
    """A version whose programs do not start: one line says so, the same command tries again, and --back goes back."""
    older.wait_healthy()
    assert_stored = store_something(older, "before the failure")
    git(clone, "checkout", "--quiet", f"v{NEXT}")
    (clone / "services/mlflow/src/replica_server/__main__.py").write_text("raise SystemExit('broken')\n")
    git(clone, "commit", "--quiet", "--all", "--message", "Broken")
    git(clone, "tag", "99.0.1")
    git(clone, "checkout", "--quiet", "main")
    for _ in range(2):
        code, said = upgrade(clone, older, "99.0.1")
        assert code == 1
        (line,) = [line for line in said.splitlines() if line.startswith("upgrade: ")]
        assert line.startswith("upgrade: error: the stack did not come up: see above and docker compose logs")
        assert line.endswith("scripts/upgrade again, or scripts/upgrade --back")
    code, said = upgrade(clone, older, "--back")
    assert code == 0, said
    assert git(clone, "branch", "--show-current") == "main\n"
    assert_stored()
    assert versions(older) == {VERSION}


@pytest.mark.minio
def test_upgrade_works_without_git(clone: Path, older: Stack) -> None:
    """In an unpacked release the present files are taken; the way back waits for the former ones."""
    older.wait_healthy()
    assert_stored = store_something(older, "before the unpacked release")
    hidden = clone.parent / f"{clone.name}.git"

    def unpack(commit: str) -> None:
        if hidden.exists():
            hidden.rename(clone / ".git")
        git(clone, "checkout", "--quiet", commit)
        (clone / ".git").rename(hidden)

    unpack(f"v{NEXT}")
    try:
        code, said = upgrade(clone, older)
        assert code == 0, said
        assert versions(older) == {NEXT}
        assert_stored()
        code, said = upgrade(clone, older, "--back")
        assert code == 1
        assert said == (
            f"upgrade: error: these files are of version {NEXT}: bring those of {VERSION} into this folder, "
            "then scripts/upgrade --back again\n"
        )
        unpack("main")
        code, said = upgrade(clone, older, "--back")
        assert code == 0, said
    finally:
        hidden.rename(clone / ".git")
    assert versions(older) == {VERSION}
    assert_stored()
