"""Garbage collection removes what was deleted long ago, with its files, by an identity of its own, and nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from .stack import STORAGE, Stack

OLD = 40  # days


@pytest.fixture(scope="module")
def client(collected: Stack) -> Iterator[MlflowClient]:
    """A client of this file's own stack."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(collected.url)
    yield MlflowClient(collected.url, collected.url)
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def collected(new_stack: Any) -> Iterator[Stack]:
    """A stack of this file's own: what other tests have deleted is theirs."""
    with new_stack() as stack:
        stack.up()
        yield stack


@pytest.fixture
def experiment(client: MlflowClient, request: pytest.FixtureRequest) -> str:
    """A new experiment."""
    created: str = client.create_experiment(request.node.name)
    return created


def gc(stack: Stack, *args: str, settings: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs garbage collection as the docs say."""
    return stack.compose("run", "--rm", "-T", "gc", *args, check=False, settings=settings)


def make_run(client: MlflowClient, experiment: str, folder: Path, name: str = "run") -> tuple[str, str]:
    """Makes a run with an artifact, and a logged model with a file; returns their ids."""
    run_id = client.create_run(experiment, run_name=name).info.run_id
    # Two versions of one artifact.
    for text in ("draft", "note"):
        client.log_text(run_id, text, "notes/note.txt")
    client.log_metric(run_id, "height", 1.0)
    model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    (folder / "weights").write_text("1 2 3")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.set_terminated(run_id)
    return run_id, model.model_id


def age(stack: Stack, run_id: str) -> None:
    """Makes a run one that was deleted long ago."""
    stack.sql("UPDATE runs SET deleted_time = deleted_time - %s WHERE run_uuid = %s", OLD * 86_400_000, run_id)


def age_model(stack: Stack, model_id: str) -> None:
    """Makes a logged model one that was deleted long ago."""
    stack.sql(
        "UPDATE logged_models SET last_updated_timestamp_ms = last_updated_timestamp_ms - %s WHERE model_id = %s",
        OLD * 86_400_000,
        model_id,
    )


def rows(stack: Stack, run_id: str, model_id: str) -> tuple[int, int]:
    """Returns how many runs and logged models of these ids the database holds."""
    runs = stack.sql("SELECT count(*) FROM runs WHERE run_uuid = %s", run_id)
    models = stack.sql("SELECT count(*) FROM logged_models WHERE model_id = %s", model_id)
    return runs[0][0], models[0][0]


def test_deleted_run_goes_with_files_and_models(
    collected: Stack, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    """Deleted run goes with its files and its models and nothing else does."""
    old, kept, recent = (make_run(client, experiment, tmp_path, name) for name in ("old", "kept", "recent"))
    for run_id, _ in (old, recent):
        client.delete_run(run_id)
    age(collected, old[0])
    before = collected.object_names(f"{experiment}/")
    old_files = {name for name in before if old[0] in name or old[1] in name}
    assert len(old_files) >= 2
    (note,) = [name for name in old_files if name.endswith("note.txt")]
    assert collected.object_versions(note) == [b"note", b"draft"]

    dry = gc(collected, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"gc: run {old[0]} (old): would be removed\n" in dry.stdout
    assert f"gc: model {old[1]} of run {old[0]}: would be removed\n" in dry.stdout
    assert recent[0] not in dry.stdout
    assert kept[0] not in dry.stdout
    assert collected.object_names(f"{experiment}/") == before
    assert rows(collected, *old) == (1, 1)

    done = gc(collected)
    assert done.returncode == 0, done.stderr
    # All but the last line, which names the minute.
    assert done.stdout.splitlines()[:-1] == dry.stdout.replace("would be removed", "removed").splitlines()[:-1]
    assert collected.object_names(f"{experiment}/") == before - old_files
    assert [collected.object_versions(name) for name in old_files] == [[]] * len(old_files)
    assert re.search(f"; files, older versions included: {len(old_files) + 1}, [0-9]+ bytes$", done.stdout)
    assert rows(collected, *old) == (0, 0)
    assert rows(collected, *kept) == rows(collected, *recent) == (1, 1)
    client.restore_run(recent[0])
    assert client.get_run(recent[0]).data.metrics == {"height": 1.0}
    assert gc(collected).stdout.startswith("gc: 0 removed")


def test_run_of_a_registered_model_is_kept(
    collected: Stack, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    """Run that a registered model comes from is kept."""
    run_id, model_id = make_run(client, experiment, tmp_path)
    client.create_registered_model("precious")
    client.create_model_version("precious", f"models:/{model_id}", run_id, model_id=model_id)
    client.delete_run(run_id)
    age(collected, run_id)
    before = collected.object_names(f"{experiment}/")
    done = gc(collected)
    assert done.returncode == 0, done.stderr
    assert f"gc: run {run_id} (run): kept, because precious version 1 comes from it\n" in done.stdout
    assert collected.object_names(f"{experiment}/") == before
    assert rows(collected, run_id, model_id) == (1, 1)


def test_model_deleted_with_its_run_counts_once(
    collected: Stack, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    """Model that was deleted as its run was is counted once."""
    run_id, model_id = make_run(client, experiment, tmp_path)
    client.delete_logged_model(model_id)
    client.delete_run(run_id)
    age_model(collected, model_id)
    age(collected, run_id)
    dry = gc(collected, "--dry-run")
    assert [line for line in dry.stdout.splitlines() if model_id in line] == [f"gc: model {model_id}: would be removed"]
    assert dry.stdout.splitlines()[-1].startswith("gc: 2 would be removed"), dry.stderr
    assert gc(collected).stdout.splitlines()[-1].startswith("gc: 2 removed")


def test_deleted_model_and_experiment_go_too(
    collected: Stack, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    run_id, model_id = make_run(client, experiment, tmp_path)
    client.delete_logged_model(model_id)
    age_model(collected, model_id)
    done = gc(collected)
    assert f"gc: model {model_id}: removed\n" in done.stdout, done.stderr
    assert rows(collected, run_id, model_id) == (1, 0)
    assert collected.object_names(f"{experiment}/models/") == set()
    client.delete_experiment(experiment)
    age(collected, run_id)
    collected.sql(
        "UPDATE experiments SET last_update_time = last_update_time - %s WHERE experiment_id = %s",
        OLD * 86_400_000,
        int(experiment),
    )
    done = gc(collected)
    assert f"gc: experiment {experiment} " in done.stdout, done.stderr
    assert collected.object_names(f"{experiment}/") == set()
    with pytest.raises(MlflowException, match="No Experiment"):
        client.get_experiment(experiment)


def test_refused_deletion_loses_nothing(
    collected: Stack, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    """Refused deletion is one line and loses nothing."""
    run_id, model_id = make_run(client, experiment, tmp_path)
    client.delete_run(run_id)
    age(collected, run_id)
    before = collected.object_names(f"{experiment}/")
    # As the server's identity, which may not delete (on Cloud Storage: that of ARTIFACT_OVERWRITE=refuse).
    if STORAGE == "gcs":
        done = gc(collected, settings={"GCS_EMULATOR_GC_ACCOUNT": "write-once"})
    else:
        volume = f"{collected.project}_bucket-secret:/run/secrets/server:ro"
        options = ["--volume", volume, "--env", "AWS_SHARED_CREDENTIALS_FILE=/run/secrets/server/credentials"]
        done = collected.compose("run", "--rm", "-T", *options, "gc", check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("gc: error: ")
    assert "Traceback" not in done.stderr
    assert collected.object_names(f"{experiment}/") == before
    assert rows(collected, run_id, model_id) == (1, 1)
    assert gc(collected).returncode == 0
    assert rows(collected, run_id, model_id) == (0, 0)


@pytest.mark.parametrize("wrong", [("--older-than", "soon"), ("--older-than", "-1"), ("--everything",)])
def test_wrong_option_removes_nothing(collected: Stack, wrong: tuple[str, ...]) -> None:
    done = gc(collected, *wrong)
    assert done.returncode == 2
    assert "gc: error: " in done.stderr


@pytest.mark.gcs  # MinIO's identity comes with the stack, and no key is given
def test_server_account_is_no_fallback_for_gc(collected: Stack) -> None:
    """Server account is not used when no key is given."""
    options = ["--env", "GOOGLE_APPLICATION_CREDENTIALS=/run/secrets/gc-key"]
    done = collected.compose("run", "--rm", "-T", *options, "gc", check=False)
    assert done.returncode == 1
    assert "gc: error: no key: GC_KEY_FILE names the key" in done.stderr


@pytest.mark.gcs  # the same
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("/nowhere", "cannot be read: No such file or directory; it must be a file that user 1001 may read"),
        ("/etc/shadow", "cannot be read: Permission denied; it must be a file that user 1001 may read"),
        ("/etc/passwd", "is not a service account's JSON key"),
    ],
)
def test_key_that_is_none_is_one_line(collected: Stack, key: str, message: str) -> None:
    done = collected.compose("run", "--rm", "-T", "--env", f"GOOGLE_APPLICATION_CREDENTIALS={key}", "gc", check=False)
    assert done.returncode == 1
    assert f"gc: error: the key file (GC_KEY_FILE) {message}\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_servers_do_not_hold_the_deleting_identity(collected: Stack) -> None:
    for container in collected.containers():
        service = container.labels["com.docker.compose.service"]
        mounted = {mount["Destination"] for mount in container.attrs["Mounts"]}
        if service in ("mlflow", "migrate", "preflight", "postgres", "minio"):
            assert not mounted & {"/run/secrets/gc", "/run/secrets/gc-key", "/run/secrets/gcs-keys"}, service
