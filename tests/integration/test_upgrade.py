"""An upgrade to a higher version keeps every run, model and alias; killed after any step, it is finished or undone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from .conftest import NewStack
from .next_version import NEXT, git, make_clone, own_images, upgrade, versions
from .people import AUTH_ON, Persons
from .stack import Stack
from .test_lifecycle import store_something
from .test_version import VERSION

FORWARD = ["backing up", "bringing the files", "building", "stopping", "starting", "verifying"]
BACK = ["bringing the files", "bringing the images", "restoring into", "exchanging", f"starting {VERSION}"]


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


def test_upgrade_keeps_people_and_tokens(tracked_files: list[Path], tmp_path: Path, new_stack: NewStack) -> None:
    """With AUTH=on, on either storage: tokens go on, there and back; a token lets the upgrade verify the server."""
    # Of its own: the backups of another stack are in the other's.
    clone = tmp_path / "clone"
    make_clone(tracked_files, clone, NEXT)
    with new_stack(settings=AUTH_ON) as stack, own_images(stack):
        stack.up()
        persons = Persons(stack)
        with persons.client("mia") as client:
            run = client.create_run("0", run_name="mia's").info
            client.log_text(run.run_id, "before", "note.txt")

        def assert_kept() -> None:
            file = {"run_uuid": run.run_id, "path": "note.txt"}
            assert persons.ask("mia", "GET", "/get-artifact", params=file).text == "before"
            assert persons.ask("", "GET", "/get-artifact", params=file).status_code == 401
            assert persons.ask("vera", "POST", "/api/2.0/mlflow/runs/create", json={}).status_code == 403

        code, said = upgrade(clone, stack, NEXT, token=persons.tokens["ada"])
        assert code == 0, said
        assert "==> verifying\n" in said
        assert versions(stack) == {NEXT}
        assert_kept()
        code, said = upgrade(clone, stack, "--back")
        assert code == 0, said
        assert versions(stack) == {VERSION}
        assert_kept()
        code, said = upgrade(clone, stack, NEXT)
        assert code == 0, said
        assert "not verified: the server asks for a login, and MLFLOW_TRACKING_TOKEN is not set" in said
        assert_kept()


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
