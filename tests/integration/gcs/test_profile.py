"""A stack that was started with `--profile gcs` stays in its bucket when a later command names no profile."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from ..conftest import NewStack
from ..stack import BUCKET, Stack, wait_until
from ..test_backup import run
from ..test_lifecycle import store_something

ADDRESS = f"gs://{BUCKET}/mlflow/\n"
REFUSAL = (
    f"bucket: error: this stack's artifacts are in {ADDRESS.strip()}: nothing was changed. Choose that profile (export"
    " COMPOSE_PROFILES=gcs), or change to MinIO: docker compose run --rm bucket --replace"
)


@pytest.fixture(scope="module")
def module_stack(new_stack: NewStack) -> Iterator[Stack]:
    """A stack whose later commands know what a user's do who sets nothing: the committed .env, which says minio."""
    with new_stack() as stack:
        del stack.environment["COMPOSE_PROFILES"], stack.environment["GCS_BUCKET"]
        yield stack


@pytest.fixture
def chosen(module_stack: Stack) -> Stack:
    """That stack, up by `GCS_BUCKET=… docker compose --profile gcs up`, without anything of MinIO's."""
    module_stack.compose("rm", "--stop", "--force", "minio", "bucket")
    up_with_gcs(module_stack)
    assert destination(module_stack) == ADDRESS
    return module_stack


def up_with_gcs(stack: Stack) -> None:
    """Starts the stack, or changes it, with the profile on the command line."""
    stack.compose("--profile", "gcs", "up", "--detach", "--wait", settings={"GCS_BUCKET": BUCKET})


def destination(stack: Stack) -> str:
    """Returns the artifacts' address, as a server that starts now would read it."""
    return stack.read_volume("artifact-store", "destination")


def server(stack: Stack) -> tuple[str | None, str, int]:
    """Returns what differs after any kind of restart of the server."""
    container = stack.container("mlflow")
    return container.id, container.attrs["State"]["StartedAt"], container.attrs["RestartCount"]


def has_minio(stack: Stack) -> bool:
    """Tells whether MinIO was started beside."""
    return bool(stack.containers("com.docker.compose.service=minio"))


def prepare_minio(stack: Stack) -> subprocess.CompletedProcess[str]:
    """Runs the preparation of MinIO alone."""
    return stack.compose("run", "--rm", "--no-deps", "-T", "bucket", check=False)


def test_trainer_uses_running_stack_without_profile(chosen: Stack) -> None:
    """Trainer without the profile trains on what runs."""
    before, objects = server(chosen), chosen.object_names()
    done = chosen.compose("run", "--rm", "-T", "trainer", "--n-estimators", "5", "--json", check=False)
    assert done.returncode == 0, done.stderr
    assert server(chosen) == before
    assert destination(chosen) == ADDRESS
    assert not has_minio(chosen)
    assert any(name.endswith("/MLmodel") for name in chosen.object_names() - objects)


def test_up_without_profile_says_what_to_do(chosen: Stack) -> None:
    """Up without the profile fails and says what to do."""
    done = chosen.compose("up", "--detach", "--wait", check=False)
    assert done.returncode == 1
    assert re.search(r'service "bucket" didn\'t complete successfully: exit 1', done.stderr)
    said = {line.partition("| ")[2] for line in chosen.logs("bucket").splitlines()}
    assert said == {REFUSAL}
    assert destination(chosen) == ADDRESS
    # The server goes on where it was. (Compose may have made its container anew, as its dependencies are others.)
    chosen.wait_healthy("mlflow")
    objects = chosen.object_names()
    store_something(chosen, "after an up without the profile")()
    assert any(name.endswith("/note.txt") for name in chosen.object_names() - objects)


def test_scripts_without_profile_keep_the_storage(chosen: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Scripts without the profile leave the storage and start only the server."""
    assert_stored = store_something(chosen, "before the backup")
    file = tmp_path_factory.mktemp("backup") / "mlflow.dump"
    container = chosen.container("mlflow").id
    for script in ("backup", "restore"):
        done = run(script, chosen, file)
        assert done.returncode == 0, done.stderr
    assert chosen.container("mlflow").id == container
    assert chosen.health("mlflow") == "healthy"
    assert destination(chosen) == ADDRESS
    assert not has_minio(chosen)
    assert_stored()


def test_failed_preflight_does_not_start_minio(chosen: Stack) -> None:
    """Failed preflight does not let MinIO take the bucket's place."""
    before = server(chosen)
    wrong = {"GCS_BUCKET": "absent"}
    assert chosen.compose("run", "--rm", "--no-deps", "preflight", check=False, settings=wrong).returncode == 1
    done = prepare_minio(chosen)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == REFUSAL
    assert server(chosen) == before
    up_with_gcs(chosen)
    assert destination(chosen) == ADDRESS


def test_storage_is_changed_on_purpose_and_back(chosen: Stack) -> None:
    restarts = server(chosen)
    assert prepare_minio(chosen).returncode == 1
    chosen.compose("run", "--rm", "-T", "bucket", "--replace")
    assert destination(chosen) == "s3://mlflow/\n"
    wait_until(lambda: server(chosen) != restarts, "the server starts again")
    chosen.wait_healthy("mlflow")
    chosen.up()
    objects = chosen.object_names()
    store_something(chosen, "in MinIO")()
    assert chosen.object_names() == objects
    up_with_gcs(chosen)
    assert destination(chosen) == ADDRESS
    chosen.wait_healthy("mlflow")
    store_something(chosen, "in the bucket again")()
    assert any(name.endswith("/note.txt") for name in chosen.object_names() - objects)
