"""A large artifact passes through the server without being held there: not in memory, and not for good on disk."""

from __future__ import annotations

import hashlib
import http.client
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from .container_memory import MIB, watched
from .stack import Stack, wait_until

SIZE = 200 * MIB
#: By how much the server may grow while an artifact of any size passes, in bytes.
ALLOWED = 64 * MIB


def digest(file: Path) -> str:
    """Returns a file's SHA-256."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def temporary_files(stack: Stack) -> list[str]:
    """Returns the temporary files in the server's container, its password file left out."""
    places = ("/tmp", "/var/tmp")  # noqa: S108 - the container's
    return stack.exec("mlflow", "find", *places, "-type", "f", "!", "-name", "pgpass").split()


def test_large_artifact_uses_no_more_memory(stack: Stack, client: MlflowClient, tmp_path: Path) -> None:
    """Artifact of 200 MiB leaves the server's memory as it is."""
    server = stack.container("mlflow")
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(SIZE))
    run = client.create_run("0").info
    # What the first transfer loads stays: it is not this artifact's.
    client.log_text(run.run_id, "text", "first.txt")
    client.download_artifacts(run.run_id, "first.txt", str(tmp_path))
    with watched(server) as upload:
        client.log_artifact(run.run_id, str(file))
    (tmp_path / "back").mkdir()
    with watched(server) as download:
        back = Path(client.download_artifacts(run.run_id, file.name, str(tmp_path / "back")))
    assert digest(back) == digest(file)
    # As the UI does: this one is collected on disk.
    with watched(server) as from_ui:
        url, query = f"{stack.url}/get-artifact", {"run_uuid": run.run_id, "path": file.name}
        with requests.get(url, query, stream=True, timeout=120) as answer, back.open("wb") as copy:
            for chunk in answer.iter_content(MIB):
                copy.write(chunk)
    assert digest(back) == digest(file)
    growth = {"upload": upload.growth, "download": download.growth, "from the UI": from_ui.growth}
    assert {way: size // MIB for way, size in growth.items() if size >= ALLOWED} == {}
    wait_until(lambda: temporary_files(stack) == [], "no temporary file is left")


def test_many_large_uploads_at_once_all_arrive(stack: Stack, client: MlflowClient) -> None:
    run = client.create_run("0").info
    place = f"{run.experiment_id}/{run.run_id}/artifacts/"
    names = {f"{place}{number}.bin" for number in range(60)}
    url, content = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts", os.urandom(9 * MIB)
    restarts = stack.container("mlflow").attrs["RestartCount"]
    with ThreadPoolExecutor(len(names)) as clients:
        answers = list(clients.map(lambda name: requests.put(f"{url}/{name}", content, timeout=300).status_code, names))
    assert answers == [200] * len(names)
    assert stack.object_names(place) == names
    assert stack.container("mlflow").attrs["RestartCount"] == restarts


@pytest.mark.parametrize("sent", [1 * MIB, 20 * MIB])
def test_upload_that_breaks_off_leaves_no_object(stack: Stack, client: MlflowClient, sent: int) -> None:
    run = client.create_run("0").info
    path = f"{run.experiment_id}/{run.run_id}/artifacts/broken.bin"
    connection = http.client.HTTPConnection("127.0.0.1", stack.port("mlflow", 5000), timeout=60)
    connection.putrequest("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}")
    connection.putheader("Content-Length", str(sent + 1))
    connection.endheaders()
    connection.send(bytes(sent))
    connection.close()
    # The same name can be used at once, and holds the later content only.
    client.log_artifact(run.run_id, str(Path(__file__)), None)
    assert stack.object_names(f"{run.experiment_id}/{run.run_id}/") == {path.replace("broken.bin", Path(__file__).name)}


def test_abandoned_download_holds_nothing_up(stack: Stack, client: MlflowClient, tmp_path: Path) -> None:
    """Download that the client gives up holds nothing up."""
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(20 * MIB))
    run = client.create_run("0").info
    client.log_artifact(run.run_id, str(file))
    path = f"{run.experiment_id}/{run.run_id}/artifacts/{file.name}"
    # More than there are threads for transfers.
    for _ in range(40):
        with requests.get(f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/{path}", stream=True, timeout=60) as answer:
            assert answer.status_code == 200
            next(answer.iter_content(1000))
    back = Path(client.download_artifacts(run.run_id, file.name, str(tmp_path)))
    assert digest(back) == digest(file)
