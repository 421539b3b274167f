"""What a run of the trainer leaves: rows in PostgreSQL, objects in the bucket, a model that loads by the server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from PIL import Image
from sklearn.metrics import average_precision_score
from trainer.data import demo
from trainer.data.demo import generate_sessions

from .stack import Stack

FIGURES = ("f1", "precision", "recall", "average_precision", "roc_auc", "log_loss")
HISTORY = "validation_log_loss"
PICTURES = {
    f"plots/{name}.{kind}"
    for name in ("calibration", "confusion_matrix", "feature_importance", "learning_curve", "pr_curve", "roc_curve")
    for kind in ("png", "csv")
}
# A public data set, which CONTRIBUTING.md names.
REAL_DATA = os.environ.get("ONLINE_SHOPPERS_CSV")


def keys_under(stack: Stack, location: str) -> set[str]:
    """Returns the objects below a proxied artifact location, relative to it, out of the bucket itself."""
    assert location.startswith("mlflow-artifacts:/"), location
    prefix = location.removeprefix("mlflow-artifacts:/").strip("/") + "/"
    return {name.removeprefix(prefix) for name in stack.object_names(prefix)}


def model_location(client: MlflowClient, run_id: str) -> str:
    """Returns the artifact location of the model that a run made."""
    outputs = client.get_run(run_id).outputs
    assert outputs is not None
    (output,) = outputs.model_outputs
    location: str = client.get_logged_model(output.model_id).artifact_location
    return location


@pytest.fixture(scope="module")
def new_sessions() -> pd.DataFrame:
    """Sessions that no training has seen."""
    return generate_sessions(rows=1_000, seed=7)


@pytest.fixture(scope="module")
def picture(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> bytes:
    """The precision-recall curve of the baseline, out of the bucket."""
    prefix = client.get_run(baseline["run_id"]).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    return stack.object_content(f"{prefix}/plots/pr_curve.png")


# The row --------------------------------------------------------------------------------------------------------------


def test_run_is_a_finished_row_in_postgres(stack: Stack, baseline: dict[str, Any]) -> None:
    query = """SELECT runs.name, status, runs.lifecycle_stage, end_time > start_time, experiments.name, artifact_uri
               FROM runs JOIN experiments USING (experiment_id) WHERE run_uuid = %s"""
    (row,) = stack.sql(query, baseline["run_id"])
    assert row[:5] == ["baseline", "FINISHED", "active", True, "purchase_predict"]
    assert re.fullmatch(rf"mlflow-artifacts:/\d+/{baseline['run_id']}/artifacts", row[5])


def test_params_in_postgres_are_complete(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Params in PostgreSQL are all that the model was fitted with."""
    rows = dict(stack.sql("SELECT key, value FROM params WHERE run_uuid = %s", baseline["run_id"]))
    expected = {"num_leaves": "60", "min_child_samples": "10", "max_depth": "12", "n_estimators": "100"}
    assert {name: rows[name] for name in expected} == expected
    assert (float(rows["learning_rate"]), rows["objective"]) == (0.1, "binary")
    model = mlflow.sklearn.load_model(baseline["model_uri"])
    # Threshold, frozen, pipeline: LightGBM is the pipeline's last step.
    classifier = model.estimator_.estimator[-1]
    fitted = {name: str(value) for name, value in classifier.get_params(deep=False).items()}
    assert {name: rows.get(name) for name in fitted} == fitted


def test_metrics_in_postgres_are_the_reported(stack: Stack, baseline: dict[str, Any]) -> None:
    """Metrics in PostgreSQL are the reported ones."""
    rows = dict(stack.sql("SELECT key, value FROM latest_metrics WHERE run_uuid = %s", baseline["run_id"]))
    assert {name: rows[name] for name in FIGURES} == {name: baseline["metrics"][name] for name in FIGURES}
    # Neither a coin nor an oracle.
    assert 0.5 < rows["average_precision"] < 0.95
    assert 0.8 < rows["roc_auc"] < 0.99
    assert 2 / (1 / rows["precision"] + 1 / rows["recall"]) == pytest.approx(rows["f1"])


def test_loss_history_reads_back(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Loss history has one row an iteration and reads back."""
    query = "SELECT step, value FROM metrics WHERE run_uuid = %s AND key = %s ORDER BY step"
    rows = stack.sql(query, baseline["run_id"], HISTORY)
    assert [step for step, _ in rows] == list(range(1, 101))
    assert rows[0][1] > 1.2 * rows[-1][1], "the loss does not fall"
    read_back = sorted((m.step, m.value) for m in client.get_metric_history(baseline["run_id"], HISTORY))
    assert read_back == [(step, value) for step, value in rows]


def test_run_names_its_data_and_its_code(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    run = client.get_run(baseline["run_id"])
    assert run.inputs is not None
    inputs = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert set(inputs) == {"training", "testing"}
    rows = {context: json.loads(str(dataset.profile))["num_rows"] for context, dataset in inputs.items()}
    assert rows == {"training": 9_600, "testing": 2_400}
    assert {dataset.name for dataset in inputs.values()} == {"generated-sessions"}
    assert inputs["training"].digest == run.data.params["data_digest"] != inputs["testing"].digest
    query = """SELECT digest FROM datasets JOIN inputs ON source_id = dataset_uuid WHERE destination_id = %s"""
    assert {row[0] for row in stack.sql(query, baseline["run_id"])} == {d.digest for d in inputs.values()}
    assert re.fullmatch(r"\d+\.\d+\.\d+", run.data.tags["trainer.version"])
    assert re.fullmatch(r"[0-9a-f]{64}", run.data.tags["trainer.source_digest"])


def test_same_data_and_params_same_metrics(stack: Stack, baseline: dict[str, Any]) -> None:
    """Same data and parameters give the same metrics."""
    again = stack.train()
    assert again["run_id"] != baseline["run_id"]
    assert again["metrics"] == baseline["metrics"]


def test_printed_link_leads_to_the_run(client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Printed link leads to the run at the public address."""
    run = client.get_run(baseline["run_id"]).info
    assert baseline["url"] == f"http://mlflow.test:5000/#/experiments/{run.experiment_id}/runs/{run.run_id}"


# The objects ----------------------------------------------------------------------------------------------------------


def test_objects_are_under_the_runs_path(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Objects are in the bucket under the runs path."""
    run = client.get_run(baseline["run_id"])
    assert keys_under(stack, run.info.artifact_uri) == {*PICTURES, "config.yaml", "lightgbm_parameters.json"}
    location = model_location(client, baseline["run_id"])
    assert f"/{run.info.experiment_id}/models/" in location
    expected = {"MLmodel", "requirements.txt", "python_env.yaml", "input_example.json", "training_rows.npz"}
    assert expected <= keys_under(stack, location)


def test_picture_decodes_and_shows_a_curve(picture: bytes) -> None:
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width >= 800
        assert image.height >= 600
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    background = np.all(pixels > 240, axis=1).mean()
    assert 0.3 < background < 0.97, "blank, or covered"
    assert len(np.unique(pixels, axis=0)) > 50
    # A line across the picture: some colour, not grey, in most of its columns.
    coloured = (pixels.max(axis=1).astype(int) - pixels.min(axis=1) > 60).reshape(image.height, image.width)
    assert coloured.any(axis=0).mean() > 0.5


def test_artifact_is_kept_byte_for_byte(stack: Stack, client: MlflowClient, tmp_path: Path) -> None:
    """Artifact of 20 MiB goes through the server byte for byte."""
    content = random.Random(42).randbytes(20 * 2**20)  # noqa: S311 - test data
    (tmp_path / "blob.bin").write_bytes(content)
    run = client.create_run(client.create_experiment("round trip"))
    client.log_artifact(run.info.run_id, str(tmp_path / "blob.bin"), "large")
    prefix = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    stored = stack.object_content(f"{prefix}/large/blob.bin")
    assert hashlib.sha256(stored).digest() == hashlib.sha256(content).digest()
    (tmp_path / "back").mkdir()
    back = Path(client.download_artifacts(run.info.run_id, "large/blob.bin", str(tmp_path / "back"))).read_bytes()
    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()
    client.set_terminated(run.info.run_id)


def test_search_resumes_in_another_container(stack: Stack, client: MlflowClient, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("{num_leaves: {low: 8, high: 16}, n_estimators: 5}")
    tmp_path.chmod(0o755)
    runs = {
        stack.train("search", "--space", "/data/space.yaml", "--trials", str(trials), data=tmp_path)["run_id"]
        for trials in (1, 2)
    }
    (parent,) = runs
    assert (
        len(client.search_runs([client.get_run(parent).info.experiment_id], f"tags.mlflow.parentRunId = '{parent}'"))
        == 2
    )
    # Nothing is written over: the storage may refuse that.
    assert {file.path for file in client.list_artifacts(parent)} == {"after_1_trials", "after_2_trials"}


def test_missing_artifact_is_not_retried(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Missing artifact is not found and no reason to retry."""
    # Where the client looks first at each load of runs:/<run>/model. At a 500 it would try again for four minutes.
    below_run = client.get_run(baseline["run_id"]).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    answer = requests.get(f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/{below_run}/model", timeout=60)
    assert answer.status_code == 404, answer.text
    assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_clients_cannot_delete_artifacts(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Clients cannot delete artifacts through the server."""
    path = client.get_run(baseline["run_id"]).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    # The answer itself tells nothing: with S3, MLflow passes over refusals of single objects and answers 200.
    requests.delete(f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/{path}/plots/pr_curve.png", timeout=60)
    assert "plots/pr_curve.png" in keys_under(stack, client.get_run(baseline["run_id"]).info.artifact_uri)


# The model ------------------------------------------------------------------------------------------------------------


def test_model_loads_through_the_server_and_predicts(
    client: MlflowClient, baseline: dict[str, Any], new_sessions: pd.DataFrame
) -> None:
    features, target = new_sessions.drop(columns=demo.TARGET), new_sessions[demo.TARGET]
    classes = np.asarray(mlflow.pyfunc.load_model(baseline["model_uri"]).predict(features)).ravel()
    model = mlflow.sklearn.load_model(baseline["model_uri"])
    assert set(classes) == {0, 1}
    np.testing.assert_array_equal(classes, model.predict(features))
    assert average_precision_score(target, model.predict_proba(features)[:, 1]) > 0.6


def test_model_has_signature_example_and_pins(client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Model has signature example and pinned requirements."""
    info = mlflow.models.get_model_info(baseline["model_uri"])
    columns = list(generate_sessions(rows=50).drop(columns=demo.TARGET).columns)
    assert info.signature.inputs.input_names() == columns
    assert info.signature.outputs.input_names() == [demo.TARGET]
    assert info.saved_input_example_info is not None
    lines = Path(mlflow.pyfunc.get_model_dependencies(baseline["model_uri"])).read_text().split()
    assert {line.partition("==")[0] for line in lines} >= {"mlflow", "lightgbm", "scikit-learn", "pandas", "numpy"}
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_registered_model_loads_by_its_alias(
    client: MlflowClient, baseline: dict[str, Any], new_sessions: pd.DataFrame
) -> None:
    version = mlflow.register_model(baseline["model_uri"], "purchase")
    client.set_registered_model_alias("purchase", "champion", version.version)
    features = new_sessions.drop(columns=demo.TARGET)
    by_alias = mlflow.pyfunc.load_model("models:/purchase@champion").predict(features)
    np.testing.assert_array_equal(by_alias, mlflow.pyfunc.load_model(baseline["model_uri"]).predict(features))


# A sweep, and other data ----------------------------------------------------------------------------------------------


def test_sweep_is_a_parent_with_nested_runs(stack: Stack, client: MlflowClient, sweep: dict[str, Any]) -> None:
    """Sweep is a parent run with a nested run for each variant."""
    query = """SELECT runs.run_uuid, status FROM runs JOIN tags USING (run_uuid)
               WHERE tags.key = 'mlflow.parentRunId' AND tags.value = %s"""
    children = dict(stack.sql(query, sweep["run_id"]))
    assert children == {variant["run_id"]: "FINISHED" for variant in sweep["variants"]}
    assert client.get_run(sweep["run_id"]).info.status == "FINISHED"
    params = [client.get_run(run_id).data.params for run_id in children]
    pairs = {(int(one["n_estimators"]), float(one["learning_rate"])) for one in params}
    assert pairs == {(200, 0.05), (500, 0.025), (1000, 0.01)}
    assert {(one["num_leaves"], one["max_depth"], one["min_child_samples"]) for one in params} == {("60", "12", "10")}
    assert sweep["best_run_id"] in children
    plots = {f"plots/{name}.{kind}" for name in ("pr_curves", "parameters") for kind in ("png", "csv")}
    files = {"config.yaml", "variants.csv", *plots}
    assert keys_under(stack, client.get_run(sweep["run_id"]).info.artifact_uri) == files


def test_sweep_stores_everything_of_each_variant(stack: Stack, client: MlflowClient, sweep: dict[str, Any]) -> None:
    """Sweep stores picture model and history of each variant."""
    for variant in sweep["variants"]:
        run = client.get_run(variant["run_id"])
        assert keys_under(stack, run.info.artifact_uri) >= PICTURES
        assert "MLmodel" in keys_under(stack, model_location(client, variant["run_id"]))
        history = client.get_metric_history(variant["run_id"], HISTORY)
        assert len(history) == int(run.data.params["n_estimators"])


@pytest.mark.skipif(not REAL_DATA, reason="ONLINE_SHOPPERS_CSV names no file: nothing is tried on the real data set")
def test_real_sessions_train_as_they_are(stack: Stack, client: MlflowClient) -> None:
    table = Path(REAL_DATA or "")
    result = stack.train("--target", "Revenue", data=table.parent)
    assert result["metrics"]["average_precision"] > 0.70
    params = client.get_run(result["run_id"]).data.params
    rows = [int(params[name]) for name in ("rows_fit", "rows_validation", "rows_test")]
    assert sum(rows) == 12_330
    assert rows[2] == pytest.approx(12_330 / 5, abs=1)
    assert params["data"] == table.stem
    features = pd.read_csv(table).drop(columns="Revenue").head(100)
    predicted = np.asarray(mlflow.pyfunc.load_model(result["model_uri"]).predict(features)).ravel()
    assert set(predicted) <= {0, 1}


def test_folder_of_four_tables_keeps_its_split(stack: Stack, client: MlflowClient) -> None:
    """Folder of four tables is used as it was split."""
    folder = stack.data.parent / "kedro"
    folder.mkdir()
    table = generate_sessions(rows=3_000, seed=3)
    for part, rows in (("train", table[:2_000]), ("test", table[2_000:])):
        rows.drop(columns=demo.TARGET).to_csv(folder / f"X_{part}.csv", index=False)
        rows[[demo.TARGET]].to_csv(folder / f"y_{part}.csv", index=False)
    folder.chmod(0o755)
    result = stack.train("--n-estimators", "20", data=folder)
    params = client.get_run(result["run_id"]).data.params
    assert int(params["rows_test"]) == 1_000
    assert int(params["rows_fit"]) + int(params["rows_validation"]) == 2_000
    assert params["target"] == demo.TARGET
