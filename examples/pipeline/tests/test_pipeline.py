"""What the pipeline leaves behind: the run, the registered model, the model's files and the database's rows."""

from __future__ import annotations

import boto3
import mlflow
import psycopg2
import pytest
from late_payments import MODEL, run_pipeline
from late_payments.pipeline import generate_invoices
from mlflow import MlflowClient
from pytest_mlflow_stack import MlflowStack


@pytest.fixture(scope="module")
def run_id(client: MlflowClient) -> str:
    """A run of the pipeline."""
    return run_pipeline(rows=400, strength=0.5)


def test_run_is_tracked(client: MlflowClient, run_id: str) -> None:
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rows": "400", "strength": "0.5", "seed": "0"}
    assert 0.8 < run.data.metrics["roc_auc"] < 1


def test_champion_predicts(client: MlflowClient, run_id: str) -> None:
    """The registered model comes back out of the bucket, by its alias."""
    assert client.get_model_version_by_alias(MODEL, "champion").run_id == run_id
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
    invoices, late = generate_invoices(rows=200, seed=1)
    assert (model.predict(invoices) == late).mean() > 0.75


def test_model_is_in_the_bucket(mlflow_stack: MlflowStack, client: MlflowClient, run_id: str) -> None:
    bucket = boto3.client("s3", **mlflow_stack.bucket.client_options)
    names = [one["Key"] for one in bucket.list_objects_v2(Bucket=mlflow_stack.bucket.name)["Contents"]]
    (model,) = client.search_logged_models(
        [client.get_run(run_id).info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    assert any(name.endswith(f"{model.model_id}/artifacts/MLmodel") for name in names)


def test_metric_is_in_the_database(mlflow_stack: MlflowStack, client: MlflowClient, run_id: str) -> None:
    connection = psycopg2.connect(mlflow_stack.database.url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT key, value FROM metrics WHERE run_uuid = %s", (run_id,))
        rows = cursor.fetchall()
    connection.close()
    assert rows == [("roc_auc", client.get_run(run_id).data.metrics["roc_auc"])]
