"""What the server asks of the storage, in the storage's own words: create, get and list are all that it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import requests
from mlflow import MlflowClient

from ..stack import BUCKET, PREFIX, Stack
from .emulator import DOMAIN, SERVER, Emulator

USED = {"storage.objects.create", "storage.objects.get", "storage.objects.list"}


def test_server_uses_only_create_get_and_list(
    stack: Stack, client: MlflowClient, emulator: Emulator, tmp_path: Path
) -> None:
    result: dict[str, Any] = stack.train("--n-estimators", "20")
    version = mlflow.register_model(result["model_uri"], "audited")
    client.set_registered_model_alias("audited", "champion", version.version)
    mlflow.pyfunc.load_model("models:/audited@champion")
    client.list_artifacts(result["run_id"])
    client.download_artifacts(result["run_id"], "plots", str(tmp_path))
    entries = [entry for entry in emulator.audit() if entry["account"] == SERVER]
    assert {entry["permission"] for entry in entries if entry["allowed"]} == USED
    # The client library asks for the bucket once, in the background, and does without the answer.
    assert {entry["permission"] for entry in entries if not entry["allowed"]} <= {"storage.buckets.get"}
    assert all(entry["object"].startswith(PREFIX) for entry in entries if entry.get("object"))


def test_each_object_is_written_once(stack: Stack, emulator: Emulator) -> None:
    stack.train("--n-estimators", "20")
    written = [
        entry["object"]
        for entry in emulator.audit()
        if entry.get("permission") == "storage.objects.create" and entry["method"] == "POST"
    ]
    assert written
    assert len(written) == len(set(written))


def test_entry_names_who_asked_and_what_was_read(stack: Stack, emulator: Emulator) -> None:
    client = stack.gcs("mlflow-admin")
    bucket = client.bucket(BUCKET)
    bucket.blob("audit/source").upload_from_string("content")
    emulator.clear_audit()
    bucket.copy_blob(bucket.blob("audit/source"), bucket, "audit/copy")
    emulator.fault("status", path="audit%2Fcopy")
    headers = {"Authorization": f"Bearer {client._credentials.token}"}
    for path in (f"/storage/v1/b/{BUCKET}/o/audit%2Fcopy", "/batch"):
        requests.get(emulator.url + path, headers=headers, timeout=30)
    seen = [(entry.get("permission"), entry.get("object"), entry["account"]) for entry in emulator.audit()]
    admin = f"mlflow-admin@{DOMAIN}"
    assert ("storage.objects.get", "audit/source", admin) in seen
    assert ("storage.objects.create", "audit/copy", admin) in seen
    assert ("storage.objects.get", "audit/copy", admin) not in seen
    assert (None, None, admin) in seen, "an unknown request is somebody's too"
    (fault,) = emulator.audit("fault")
    assert (fault["kind"], fault["method"], fault["path"]) == (
        "status",
        "GET",
        f"/storage/v1/b/{BUCKET}/o/audit%2Fcopy",
    )
