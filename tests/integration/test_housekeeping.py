"""Housekeeping: runs go by rules, orphans are found both ways and removed on request, and what is used is told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from .conftest import NewStack
from .stack import Stack
from .test_gc import gc

RULES = """
retention:
- {experiment: "kept*", keep_best: 1, metric: height, keep_latest: 1}
limits: {experiment: 1 kB}
"""


@pytest.fixture(scope="module")
def tidy(new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of this file's own, with a housekeeping file."""
    file = tmp_path_factory.mktemp("rules") / "housekeeping.yaml"
    file.write_text(RULES)
    file.chmod(0o644)
    with new_stack(settings={"HOUSEKEEPING_FILE": str(file)}) as stack:
        stack.up()
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(stack.url)
        yield stack
        mlflow.set_tracking_uri(before)


def make_run(client: MlflowClient, experiment: str, height: float, folder: Path, size: int = 500) -> tuple[str, str]:
    """Makes a run with an artifact and a logged model of so many bytes each; returns their ids."""
    run_id = client.create_run(experiment, run_name=f"run {height:g}").info.run_id
    client.log_text(run_id, "x" * size, "note.txt")
    client.log_metric(run_id, "height", height)
    model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    (folder / "weights").write_text("y" * size)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.set_terminated(run_id)
    return run_id, model.model_id


def usage(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """Asks what is used, as the docs say."""
    return stack.compose("run", "--rm", "-T", "usage", *args)


def test_retention_deletes_and_gc_removes(tidy: Stack, tmp_path: Path) -> None:
    """The dry run lists what then goes; a registered run, the best and the latest stay; gc frees the bytes."""
    client = MlflowClient(tidy.url, tidy.url)
    experiment = client.create_experiment("kept in part")
    heights = {"registered": 1.0, "best": 9.0, "first": 2.0, "second": 3.0, "latest": 4.0}
    runs = {name: make_run(client, experiment, height, tmp_path) for name, height in heights.items()}
    client.create_registered_model("precious")
    client.create_model_version("precious", f"models:/{runs['registered'][1]}", model_id=runs["registered"][1])
    other = make_run(client, client.create_experiment("without a rule"), 1.0, tmp_path)

    dry = gc(tidy, "retention", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    for name in ("first", "second"):
        line = f"retention: run {runs[name][0]} (run {heights[name]:g}) of kept in part, ended "
        (found,) = [said for said in dry.stdout.splitlines() if said.startswith(line)]
        assert found.endswith(", 1,000 bytes: would be deleted")
    last = "2 runs with 2,000 bytes would be deleted; kept: 1 registered, 1 best, 1 latest"
    assert dry.stdout.splitlines()[2:] == [f"retention: {last}"]
    assert len(client.search_runs([experiment])) == 5

    done = gc(tidy, "retention")
    assert done.returncode == 0, done.stderr
    assert "2 runs with 2,000 bytes deleted" in done.stdout
    left = {run.info.run_id for run in client.search_runs([experiment])}
    assert left == {runs[name][0] for name in ("registered", "best", "latest")}
    client.restore_run(runs["first"][0])
    client.delete_run(runs["first"][0])
    before = tidy.object_names(f"{experiment}/")
    assert gc(tidy, "--older-than", "0").returncode == 0
    gone = before - tidy.object_names(f"{experiment}/")
    assert len(gone) == 4
    assert all(any(owner in name for owner in (*runs["first"], *runs["second"])) for name in gone)
    assert client.get_run(other[0]).info.lifecycle_stage == "active"


def test_orphans_are_found_both_ways(tidy: Stack, tmp_path: Path) -> None:
    """Objects without rows and rows without objects: listed, nothing changed; with --remove they go, and no others."""
    client = MlflowClient(tidy.url, tidy.url)
    experiment = client.create_experiment("orphans")
    whole, without_row = (make_run(client, experiment, 1.0, tmp_path) for _ in range(2))
    tidy.sql("DELETE FROM logged_models WHERE model_id = %s", without_row[1])
    without_files = client.create_logged_model(experiment, name="empty").model_id
    client.finalize_logged_model(without_files, "READY")
    before = tidy.object_names(f"{experiment}/")

    listed = gc(tidy, "orphans")
    assert listed.returncode == 0, listed.stderr
    folder = f"{experiment}/models/{without_row[1]}/artifacts"
    assert f"orphans: {folder}: 1 artifacts, 500 bytes, and no row\n" in listed.stdout
    assert f"orphans: model {without_files}: a row, and no artifacts\n" in listed.stdout
    assert whole[1] not in listed.stdout
    assert tidy.object_names(f"{experiment}/") == before

    removed = gc(tidy, "orphans", "--remove")
    assert removed.returncode == 0, removed.stderr
    assert before - tidy.object_names(f"{experiment}/") == {name for name in before if without_row[1] in name}
    again = gc(tidy, "orphans")
    assert "orphans: 0 artifacts without a row (0 bytes); 0 rows without artifacts" in again.stdout, again.stderr
    assert client.get_logged_model(whole[1]).model_id == whole[1]
    with pytest.raises(MlflowException, match="not found"):
        client.get_logged_model(without_files)


def test_another_stack_is_left_alone(tidy: Stack, tmp_path: Path) -> None:
    """A second stack in a subfolder of the same bucket: its runs are neither listed nor removed."""
    client = MlflowClient(tidy.url, tidy.url)
    # What the second one would store, written through this server; its experiment's row is then gone, as there.
    experiment = client.create_experiment("of the second", "mlflow-artifacts:/second/1")
    run_id, model_id = make_run(client, experiment, 1.0, tmp_path)
    for table, column in (("logged_models", "model_id"), ("latest_metrics", "run_uuid"), ("metrics", "run_uuid")):
        tidy.sql(f"DELETE FROM {table} WHERE {column} = %s", model_id if table == "logged_models" else run_id)  # noqa: S608
    for table in ("tags", "runs"):
        tidy.sql(f"DELETE FROM {table} WHERE run_uuid = %s", run_id)  # noqa: S608
    tidy.sql("DELETE FROM experiments WHERE experiment_id = %s", int(experiment))
    before = tidy.object_names("second/")
    assert len(before) == 2
    removed = gc(tidy, "orphans", "--remove")
    assert removed.returncode == 0, removed.stderr
    assert "second/" not in removed.stdout
    assert "; 2 others are in no experiment's folder: another stack's, perhaps" in removed.stdout
    assert tidy.object_names("second/") == before


def test_version_without_files_is_an_orphan(tidy: Stack, tmp_path: Path) -> None:
    """A registered version whose model was removed: the row is listed, and goes, unless an alias points to it."""
    client = MlflowClient(tidy.url, tidy.url)
    experiment = client.create_experiment("lost versions")
    run_id, _ = make_run(client, experiment, 1.0, tmp_path)
    client.create_registered_model("lost")
    uri = client.get_run(run_id).info.artifact_uri
    for _ in range(2):
        client.create_model_version("lost", f"{uri}/nothing", run_id)
    client.log_text(run_id, "a model of one file", "model.onnx")
    client.create_model_version("lost", f"{uri}/model.onnx", run_id)
    client.set_registered_model_alias("lost", "champion", "2")
    listed = gc(tidy, "orphans")
    assert "orphans: lost version 1: a row, and no artifacts\n" in listed.stdout, listed.stderr
    removed = gc(tidy, "orphans", "--remove")
    assert "lost version 2: a row, and no artifacts: kept, because the alias champion points to it\n" in removed.stdout
    with pytest.raises(MlflowException, match="not found"):
        client.get_model_version("lost", "1")
    assert client.get_model_version("lost", "3").source == f"{uri}/model.onnx"
    assert client.get_model_version_by_alias("lost", "champion").version == "2"


def test_usage_tells_sizes_and_warns(tidy: Stack, tmp_path: Path) -> None:
    client = MlflowClient(tidy.url, tidy.url)
    experiment = client.create_experiment("large")
    run_id = make_run(client, experiment, 1.0, tmp_path, size=600)[0]
    client.set_tag(run_id, "mlflow.user", "alice")
    said = usage(tidy, "--json")
    found = json.loads(said.stdout)
    (entry,) = [entry for entry in found["experiments"] if entry["name"] == "large"]
    assert entry == {"name": "large", "bytes": 1200, "deleted_bytes": 0, "runs": 1, "models": 1}
    (alice,) = [entry for entry in found["users"] if entry["name"] == "alice"]
    assert (alice["bytes"], alice["runs"], alice["models"]) == (1200, 1, 1)
    assert found["total"]["bytes"] == sum(entry["bytes"] for entry in found["experiments"])
    warning = "the experiment large takes 1.2 kB, and the limit is 1.0 kB"
    assert warning in found["warnings"]
    assert f"usage: warning: {warning}\n" in said.stderr
    table = [line.split() for line in usage(tidy).stdout.splitlines()]
    assert ["large", "1.2", "kB", "0", "B", "1", "1"] in table
    assert ["alice", "1.2", "kB", "0", "B", "1", "1"] in table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rules: HOUSEKEEPING_FILE names the file that has them"),
        (
            "retention: [{experiment: a, keep_best: 1}]",
            "HOUSEKEEPING_FILE: retention 1: keep_best and metric go together",
        ),
    ],
)
def test_rules_that_are_none_are_one_line(tidy: Stack, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(content)
    file.chmod(0o644)
    options = ("run", "--rm", "-T", "gc", "retention")
    done = tidy.compose(*options, check=False, settings={"HOUSEKEEPING_FILE": str(file)})
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith(f"retention: error: {message}")
    assert "Traceback" not in done.stderr
