"""Direct mode: clients write artifacts to the bucket themselves, by a key of their own, and the server shows them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from .conftest import NewStack
from .gcs.emulator import DOMAIN, SERVER, Emulator
from .stack import BUCKET, PREFIX, STORAGE, Stack

ROOT_ADDRESS = {"minio": f"s3://{BUCKET}", "gcs": f"gs://{BUCKET}/{PREFIX.rstrip('/')}"}[STORAGE]
CLIENT = f"mlflow-client@{DOMAIN}"
LOAD = """
import sys, mlflow
from trainer.data import demo
model = mlflow.pyfunc.load_model(sys.argv[1])
print(len(model.predict(demo.generate_sessions(rows=50, seed=3).drop(columns=demo.TARGET))))
"""


@pytest.fixture(scope="module")
def direct(new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose clients hold a key, and which lets no artifact be overwritten."""
    key = tmp_path_factory.mktemp("client") / "key"
    key.touch(0o644)
    key.parent.chmod(0o755)
    if STORAGE == "minio":
        key.write_text(f"[default]\naws_access_key_id=client\naws_secret_access_key={secrets.token_hex(20)}\n")
    settings = {"CLIENT_KEY_FILE": str(key), "ARTIFACT_OVERWRITE": "refuse"}
    with new_stack(settings=settings, files=("compose.direct.yaml",)) as stack:
        if STORAGE == "gcs":
            stack.compose("up", "gcs-keys")
            key.write_text(stack.read_volume("gcs-keys", "mlflow-client.json"))
        stack.up()
        yield stack


@pytest.fixture(scope="module")
def trained(direct: Stack) -> dict[str, Any]:
    """The result of a run whose artifacts the trainer has written to the bucket."""
    if STORAGE == "gcs":
        Emulator(direct).clear_audit()
    return direct.train("--n-estimators", "20")


def test_run_plot_and_model_are_in_the_bucket(direct: Stack, trained: dict[str, Any]) -> None:
    """Run picture and model are in the bucket under its own address."""
    client = MlflowClient(direct.url)
    run = client.get_run(trained["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri == f"{ROOT_ADDRESS}/{run.info.experiment_id}/{run.info.run_id}/artifacts"
    below_run = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/"
    assert f"{below_run}plots/pr_curve.png" in direct.object_names(below_run)
    assert run.outputs is not None
    location = client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location
    below_model = location.removeprefix(f"{ROOT_ADDRESS}/")
    assert f"{below_model}/MLmodel" in direct.object_names(below_model)


@pytest.mark.gcs  # MinIO keeps no audit.
def test_objects_were_written_by_the_client(direct: Stack, trained: dict[str, Any]) -> None:
    """Every object was written by the client and none by the server."""
    used = [
        (entry["account"], entry["permission"])
        for entry in Emulator(direct).audit()
        if entry.get("object") and entry["allowed"]
    ]
    assert (CLIENT, "storage.objects.create") in used
    assert (SERVER, "storage.objects.create") not in used
    assert (SERVER, "storage.objects.get") not in used


def test_model_loads_back_by_the_clients_key(direct: Stack, trained: dict[str, Any]) -> None:
    done = direct.compose(
        "run", "--rm", "--no-deps", "-T", "--entrypoint", "python3", "trainer", "-c", LOAD, trained["model_uri"]
    )
    assert done.stdout.split()[-1] == "50"


def test_ui_shows_the_picture(direct: Stack, trained: dict[str, Any]) -> None:
    query = {"run_uuid": trained["run_id"], "path": "plots/pr_curve.png"}
    answer = requests.get(f"{direct.url}/get-artifact", query, timeout=60)
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")


def test_client_without_a_key_cannot_write(direct: Stack, trained: dict[str, Any]) -> None:
    options = ["--env", "GOOGLE_APPLICATION_CREDENTIALS=/dev/null", "--env", "AWS_SHARED_CREDENTIALS_FILE=/dev/null"]
    before = direct.object_names()
    done = direct.compose("run", "--rm", "--no-deps", "-T", *options, "trainer", "--n-estimators", "5", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert direct.object_names() == before


def test_client_identity_cannot_delete(direct: Stack, trained: dict[str, Any]) -> None:
    name = sorted(direct.object_names())[0]
    script = {
        "minio": f"import boto3; s3 = boto3.client('s3', endpoint_url='http://minio:9000'); "
        f"s3.delete_object(Bucket={BUCKET!r}, Key={name!r})",
        "gcs": f"from google.cloud import storage as s; s.Client().bucket({BUCKET!r}).blob({PREFIX + name!r}).delete()",
    }[STORAGE]
    done = direct.compose(
        "run", "--rm", "--no-deps", "-T", "--entrypoint", "python3", "trainer", "-c", script, check=False
    )
    assert done.returncode != 0
    assert "AccessDenied" in done.stderr or "storage.objects.delete" in done.stderr
    assert name in direct.object_names()


def test_client_overwrites_or_is_refused(direct: Stack, trained: dict[str, Any]) -> None:
    """MinIO has no permission to write new names only, but keeps the older version; Google's roles refuse."""
    name = sorted(direct.object_names())[0]
    before = direct.object_content(name)
    script = {
        "minio": f"import boto3; s3 = boto3.client('s3', endpoint_url='http://minio:9000'); "
        f"s3.put_object(Bucket={BUCKET!r}, Key={name!r}, Body=b'other')",
        "gcs": f"from google.cloud import storage as s; "
        f"s.Client().bucket({BUCKET!r}).blob({PREFIX + name!r}).upload_from_string('other')",
    }[STORAGE]
    done = direct.compose(
        "run", "--rm", "--no-deps", "-T", "--entrypoint", "python3", "trainer", "-c", script, check=False
    )
    if STORAGE == "gcs":
        assert done.returncode != 0
        assert "storage.objects.delete" in done.stderr
        assert direct.object_versions(name) == [before]
    else:
        assert done.returncode == 0, done.stderr
        assert direct.object_versions(name) == [b"other", before]
