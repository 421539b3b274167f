"""The server needs no library on the client's side: curl alone tracks a run, and the example says how."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .client_programs import find_program
from .stack import ROOT, Stack

EXAMPLE = ROOT / "examples" / "curl" / "track-run"


@pytest.fixture(scope="module")
def curl() -> str:
    """The path of curl."""
    find_program("jq", install="jq")
    return find_program("curl", install="curl 7.82 or newer")


def track(url: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs the example against a server."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "MLFLOW_TRACKING_URI": url}
    return subprocess.run(
        [str(EXAMPLE), *args], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def run_id_of(output: str) -> str:
    """Returns the run that the example names in its first line."""
    return output.splitlines()[0].rpartition("/")[2]


def test_example_tracks_a_run_with_curl_alone(stack: Stack, curl: str) -> None:
    picture = ROOT / "docs" / "images" / "mlflow_ui.png"
    done = track(stack.url, str(picture))
    assert (done.returncode, done.stderr) == (0, "")
    run = run_id_of(done.stdout)
    (row,) = stack.sql("SELECT status, end_time >= start_time, artifact_uri FROM runs WHERE run_uuid = %s", run)
    assert row[:2] == ["FINISHED", True]
    params = dict(stack.sql("SELECT key, value FROM params WHERE run_uuid = %s", run))
    assert params == {"learning_rate": "0.1", "num_leaves": "60"}
    history = stack.sql("SELECT step, value FROM metrics WHERE run_uuid = %s AND key = 'loss' ORDER BY step", run)
    assert history == [[1, 0.61], [2, 0.47], [3, 0.42]]
    assert stack.sql("SELECT value FROM tags WHERE run_uuid = %s AND key = 'client'", run) == [["curl"]]
    name = f"{row[2].removeprefix('mlflow-artifacts:/')}/files/mlflow_ui.png"
    assert stack.object_content(name) == picture.read_bytes()
    # What it read back is what the stores hold.
    assert done.stdout.splitlines()[1:] == [
        "parameter   learning_rate = 0.1",
        "parameter   num_leaves = 60",
        "tag         client = curl",
        "metric      loss = 0.61 at step 1",
        "metric      loss = 0.47 at step 2",
        "metric      loss = 0.42 at step 3",
        f"artifact    files/mlflow_ui.png, {picture.stat().st_size} bytes",
    ]


def test_example_with_missing_file_leaves_no_run(stack: Stack, curl: str) -> None:
    """Example names a file that is not there and leaves no run."""
    count = "SELECT count(*) FROM runs"
    before = stack.sql(count)
    done = track(stack.url, "/nowhere/picture.png")
    assert done.returncode == 1
    assert done.stderr == "track-run: error: /nowhere/picture.png: no such file\n"
    assert stack.sql(count) == before


def test_example_names_a_server_that_does_not_answer(curl: str) -> None:
    # A port that no server can have.
    done = track("http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no answer from http://127.0.0.1:1" in done.stderr


def test_example_shows_a_refusal_that_is_no_json(stack: Stack, curl: str) -> None:
    # By its address the server can be reached, but it is no name that it goes by.
    networks = stack.container("edge").attrs["NetworkSettings"]["Networks"]
    done = track(f"http://{networks[f'{stack.project}_outside']['IPAddress']}:5000")
    assert done.returncode == 1
    assert "experiments/search: Invalid Host header" in done.stderr


def test_example_marks_unfinished_run_failed(stack: Stack, curl: str, tmp_path: Path) -> None:
    """Example marks a run that it could not finish as failed."""
    # The server refuses the name: a path that leads out of the run's folder.
    odd = tmp_path / "%2e%2e%2fout"
    odd.write_text("x")
    done = track(stack.url, str(odd))
    assert done.returncode == 1
    assert done.stderr.startswith("track-run: error: api/2.0/mlflow-artifacts/artifacts/")
    assert done.stderr.count("\n") == 1
    query = "SELECT status FROM runs WHERE run_uuid = %s"
    assert stack.sql(query, run_id_of(done.stdout)) == [["FAILED"]]


def test_refusals_are_json_with_a_code_and_a_message(stack: Stack, curl: str) -> None:
    command = [curl, "--silent", "--write-out", "\n%{http_code}", f"{stack.url}/api/2.0/mlflow/runs/get?run_id=none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    body, _, status = done.stdout.rpartition("\n")
    answer = json.loads(body)
    assert (status, answer["error_code"]) == ("404", "RESOURCE_DOES_NOT_EXIST")
    assert "none" in answer["message"]
