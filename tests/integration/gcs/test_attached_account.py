"""On a Google VM no key is needed: the account comes from the machine's metadata service, which the emulator plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
