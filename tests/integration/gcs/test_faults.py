"""What goes wrong between the server and the storage is ridden out, or reported; never half done."""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ..container_memory import watched
from ..stack import Stack
from ..test_large_artifacts import ALLOWED
from .emulator import SERVER, Emulator

LARGE = 20 * 2**20
CREATE = "storage.objects.create"


def round_trip(client: MlflowClient, run_id: str, folder: Path, size: int = 1000) -> None:
    """Stores a file through the server and reads it back."""
    content = random.Random(size).randbytes(size)  # noqa: S311 - test data
    (folder / "file.bin").write_bytes(content)
    client.log_artifact(run_id, str(folder / "file.bin"))
    (folder / "back").mkdir()
    back = Path(client.download_artifacts(run_id, "file.bin", str(folder / "back"))).read_bytes()
    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "status", "status": 503, "retry_after": 1, "count": 2}, id="503 with Retry-After"),
        pytest.param({"kind": "status", "status": 429, "count": 2}, id="429"),
        pytest.param({"kind": "cut-request"}, id="connection lost before the storage saw the request"),
        pytest.param({"kind": "delay", "seconds": 2}, id="late"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"], ids=["upload", "download"])
def test_passing_fault_is_ridden_out(
    client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path, method: str, fault: dict[str, object]
) -> None:
    emulator.fault(**{"method": method, "path": "^/(upload|download)/", **fault})  # type: ignore[arg-type]
    round_trip(client, run_id, tmp_path)
    assert emulator.waiting_faults() == []


def test_download_that_breaks_off_is_resumed(
    client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    emulator.fault("cut-response", path="^/download/", after_bytes=5_000_000)
    round_trip(client, run_id, tmp_path, LARGE)
    assert emulator.waiting_faults() == []


def test_slow_transfer_arrives(client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    emulator.fault("slow", method="POST", path="^/upload/", bytes_per_second=1_000_000)
    started = time.monotonic()
    round_trip(client, run_id, tmp_path, 3_000_000)
    assert time.monotonic() - started > 2.5


def test_upload_survives_a_failing_chunk(client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    """Upload of 20 MiB is resumable and survives a failing chunk."""
    emulator.fault("status", method="PUT", path="upload_id=", status=503, count=1)
    round_trip(client, run_id, tmp_path, LARGE)
    assert emulator.waiting_faults() == []
    methods = [entry["method"] for entry in emulator.audit() if entry.get("permission") == "storage.objects.create"]
    # It is begun once; the failing chunk never came to the point where it is logged.
    assert methods.count("POST") == 1
    assert methods.count("PUT") >= 2


PUTS = {"method": "PUT", "path": "upload_id="}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "cut-request", "after_bytes": 5_000_000}, id="the first piece breaks off"),
        pytest.param({"kind": "cut-request", "after_bytes": 1_000_000, "skip": 1}, id="the last piece breaks off"),
        pytest.param({"kind": "short", "after_bytes": 5_000_000}, id="a part of the first piece is kept"),
        pytest.param({"kind": "short", "after_bytes": 1_000_000, "skip": 1}, id="a part of the last piece is kept"),
        pytest.param({"kind": "short", "after_bytes": 100_000}, id="nothing of the first piece is kept"),
        pytest.param({"kind": "cut-response"}, id="the answer to the first piece is lost"),
        pytest.param({"kind": "cut-response", "skip": 1}, id="the answer to the last piece is lost"),
    ],
)
def test_upload_resumes_where_storage_stopped(
    client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path, fault: dict[str, object]
) -> None:
    """Upload of 20 MiB goes on where the storage has come to."""
    emulator.fault(**PUTS, **fault)  # type: ignore[arg-type]
    round_trip(client, run_id, tmp_path, LARGE)
    assert emulator.waiting_faults() == []
    # Not even the server's own client had to begin again.
    begun = [entry for entry in emulator.audit() if (entry.get("permission"), entry["method"]) == (CREATE, "POST")]
    assert len(begun) == 1


UPLOAD = """
import hashlib, mlflow, random, sys
content = random.Random(0).randbytes(20 * 2**20)
open("/tmp/large.bin", "wb").write(content)
mlflow.MlflowClient().log_artifact(sys.argv[1], "/tmp/large.bin")
print(hashlib.sha256(content).hexdigest())
"""


def test_client_does_not_see_a_broken_piece(stack: Stack, emulator: Emulator, idle_trainer: Any, run_id: str) -> None:
    """Client in another container sees nothing of a piece that breaks off."""
    emulator.fault("cut-request", **PUTS, after_bytes=7_000_000)
    said = stack.exec(idle_trainer, "python3", "-c", UPLOAD, run_id).split()
    stored = stack.object_content(f"0/{run_id}/artifacts/large.bin")
    assert said == [hashlib.sha256(stored).hexdigest()]
    assert emulator.waiting_faults() == []


def test_partly_kept_pieces_use_no_more_memory(
    stack: Stack, client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    """Pieces that are kept in part leave the server's memory as it is."""
    round_trip(client, client.create_run("0").info.run_id, tmp_path, LARGE)
    file = tmp_path / "larger.bin"
    file.write_bytes(os.urandom(5 * LARGE))
    emulator.fault("short", **PUTS, after_bytes=9_000_000, count=10)
    with watched(stack.container("mlflow")) as upload:
        client.log_artifact(run_id, str(file))
    assert emulator.waiting_faults() == []
    stored = stack.object_content(f"0/{run_id}/artifacts/larger.bin")
    assert hashlib.sha256(stored).digest() == hashlib.sha256(file.read_bytes()).digest()
    assert upload.growth < ALLOWED


def test_lossy_storage_is_an_error(
    stack: Stack, client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    """Storage that keeps nothing is an error that says so."""
    emulator.fault("short", **PUTS, skip=1, count=10)
    with pytest.raises((MlflowException, requests.RequestException), match=r"keeps nothing|503"):
        round_trip(client, run_id, tmp_path, LARGE)
    assert stack.object_names(f"0/{run_id}/") == set()


def test_broken_storage_is_an_error_and_no_object(
    stack: Stack, client: MlflowClient, emulator: Emulator, run_id: str
) -> None:
    """Storage that stays broken is an error and no object."""
    emulator.fault("status", method="POST", path="^/upload/", status=403, count=1)
    with pytest.raises((MlflowException, requests.RequestException)):
        client.log_text(run_id, "text", "note.txt")
    assert stack.object_names(f"0/{run_id}/") == set()


def test_lost_answer_does_not_fail_the_upload(
    stack: Stack, client: MlflowClient, emulator: Emulator, run_id: str
) -> None:
    # The object is there but the client library does not know, tries again, and replaces its own object.
    emulator.fault("cut-response", method="POST", path="^/upload/")
    client.log_text(run_id, "text", "note.txt")
    assert stack.object_content(f"0/{run_id}/artifacts/note.txt") == b"text"
    assert "storage.objects.delete" in {entry["permission"] for entry in emulator.audit() if entry["allowed"]}


def test_lost_answer_is_no_second_upload(stack: Stack, strict_url: str, emulator: Emulator, run_id: str) -> None:
    """An account that may not overwrite is refused for its own object. The server compares (overwriting.py)."""
    emulator.fault("cut-response", method="POST", path="^/upload/")
    url = f"{strict_url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/note.txt"
    answer = requests.put(url, data=b"text", timeout=60)
    assert answer.status_code == 200, answer.text
    assert stack.object_content(f"0/{run_id}/artifacts/note.txt") == b"text"
    assert "storage.objects.delete" in {entry["permission"] for entry in emulator.audit() if not entry["allowed"]}


def test_expired_token_is_renewed(client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    client.log_text(run_id, "text", "before.txt")
    assert emulator.expire_tokens() > 0
    emulator.clear_audit()
    round_trip(client, run_id, tmp_path)
    assert SERVER in {entry["account"] for entry in emulator.audit("token")}
    assert "invalid token" in {entry.get("reason") for entry in emulator.audit()}


def test_short_lived_tokens_are_renewed_in_time(
    client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    emulator.token_seconds(1)
    emulator.expire_tokens()
    for number in range(3):
        client.log_text(run_id, "text", f"{number}.txt")
        time.sleep(1.1)
    issued = [entry for entry in emulator.audit("token") if entry["account"] == SERVER]
    assert len(issued) >= 3


def test_expired_token_is_renewed_in_a_transfer(
    client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    """Token that ends during a transfer is renewed."""
    # The next token lives for two seconds, and the upload takes longer: each of its pieces needs a valid one.
    emulator.token_seconds(2)
    emulator.expire_tokens()
    emulator.fault("slow", **PUTS, bytes_per_second=5_000_000)
    round_trip(client, run_id, tmp_path, LARGE)
    assert emulator.waiting_faults() == []
    pieces = [entry for entry in emulator.audit() if entry["account"] == SERVER and entry["method"] == "PUT"]
    assert len(pieces) >= 2
    assert len([entry for entry in emulator.audit("token") if entry["account"] == SERVER]) >= 2


def test_busy_token_endpoint_is_waited_for(
    client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    """Token endpoint that is busy for a while is ridden out."""
    emulator.expire_tokens()
    emulator.fault("status", path="^/token", status=503, count=2)
    round_trip(client, run_id, tmp_path)
    assert emulator.waiting_faults() == []
    hit = [entry for entry in emulator.audit("fault") if entry["path"] == "/token"]
    assert len(hit) == 2


def errors_in(logs: str) -> list[str]:
    """Returns the lines of a server's log that speak of an error or a refusal, tracebacks included."""
    return [line for line in logs.splitlines() if re.search("(?i)error|refused:|Traceback", line)]


@pytest.mark.parametrize("reason", ["busy", "revoked"])
def test_server_recovers_from_a_missing_token(
    stack: Stack, client: MlflowClient, emulator: Emulator, run_id: str, tmp_path: Path, reason: str
) -> None:
    """Server without a token says so in a line and recovers by itself."""
    client.log_text(run_id, "text", "before.txt")
    before = len(errors_in(stack.logs("mlflow")))
    emulator.expire_tokens()
    if reason == "busy":
        emulator.fault("status", path="^/token", status=503, count=1000)
    else:
        emulator.revoke_key("mlflow-server")
    with pytest.raises((MlflowException, requests.RequestException)):
        client.log_text(run_id, "text", "note.txt")
    (said,) = errors_in(stack.logs("mlflow"))[before:]
    assert {"busy": "gets no token at present", "revoked": "Invalid JWT Signature"}[reason] in said
    emulator.reset()
    assert stack.object_names(f"0/{run_id}/") == {f"0/{run_id}/artifacts/before.txt"}
    round_trip(client, run_id, tmp_path)
