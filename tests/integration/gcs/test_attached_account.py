"""On a Google VM no key is needed: the account comes from the machine's metadata service, which the emulator plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient

from .emulator import SERVER, Emulator

# As in production without GCS_KEY_FILE: the secret is there and empty. Only the metadata service's address is given.
VM = {
    "environment": {
        "GOOGLE_APPLICATION_CREDENTIALS": "/run/secrets/gcs-key",
        "GCE_METADATA_HOST": "gcs:4443",
        "GCE_METADATA_IP": "gcs:4443",
    }
}


def test_attached_account_is_used_and_named(new_stack: Any, tmp_path: Path) -> None:
    override = {"services": {"preflight": VM, "mlflow": VM}}
    with new_stack(settings={"GCS_EMULATOR_ATTACHED_ACCOUNT": "mlflow-server"}, override=override) as stack:
        stack.up()
        assert f"preflight: {SERVER} (attached to this machine)" in stack.logs("preflight")
        client = MlflowClient(stack.url)
        run_id = client.create_run("0").info.run_id
        client.log_text(run_id, "text", "note.txt")
        assert Path(client.download_artifacts(run_id, "note.txt", str(tmp_path))).read_text() == "text"
        issued = Emulator(stack).audit("token")
        assert {(entry["account"], entry["how"]) for entry in issued} == {(SERVER, "metadata")}

        # As after a power loss: the engine starts the server without the preflight, and the metadata service is late.
        stack.compose("stop", "gcs")
        stack.container("mlflow").restart()
        stack.wait_healthy("mlflow")
        note = f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/note.txt"
        late = requests.get(stack.url + note, timeout=60)
        assert (late.status_code, late.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert "The server cannot use its Google account: no credentials: give a key file" in late.json()["message"]
        assert "error: no credentials: give a key file" in stack.logs("mlflow")
        stack.compose("start", "gcs")
        stack.wait_healthy("gcs")
        assert requests.get(stack.url + note, timeout=60).text == "text"
        assert {entry["account"] for entry in Emulator(stack).audit()} == {SERVER}
