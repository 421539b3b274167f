"""JavaScript tracks too: the example for Node.js, with the package `mlflow` from npm."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from .client_programs import find_program
from .stack import ROOT, Stack

EXAMPLE = ROOT / "examples" / "node"


@pytest.fixture(scope="module")
def node() -> str:
    """The path of Node.js, beside which the example's packages are installed."""
    program = find_program("node", install="Node.js 18 or newer, with npm")
    if not (EXAMPLE / "node_modules" / "mlflow").is_dir():
        message = "the packages of examples/node are not installed: run scripts/ensure-clients"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return program


def track(node: str, url: str) -> subprocess.CompletedProcess[str]:
    """Runs the example against a server."""
    environment = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": url}
    command = [node, str(EXAMPLE / "track-run.mjs")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_example_tracks_a_run_with_node(stack: Stack, node: str) -> None:
    done = track(node, stack.url)
    assert (done.returncode, done.stderr) == (0, "")
    read_back = json.loads(done.stdout)
    run = read_back["run_id"]
    query = """SELECT status, end_time >= start_time, artifact_uri, experiments.name
               FROM runs JOIN experiments USING (experiment_id) WHERE run_uuid = %s"""
    (row,) = stack.sql(query, run)
    assert [row[0], row[1], row[3]] == ["FINISHED", True, "node_client"]
    params = dict(stack.sql("SELECT key, value FROM params WHERE run_uuid = %s", run))
    assert params == read_back["params"] == {"learning_rate": "0.1", "num_leaves": "60"}
    history = stack.sql("SELECT step, value FROM metrics WHERE run_uuid = %s AND key = 'loss' ORDER BY step", run)
    assert history == read_back["loss"] == [[1, 0.61], [2, 0.47], [3, 0.42]]
    tags = stack.sql("SELECT value FROM tags WHERE run_uuid = %s AND key = 'client'", run)
    assert tags == [[read_back["client"]]]
    content = stack.object_content(f"{row[2].removeprefix('mlflow-artifacts:/')}/{read_back['artifacts'][0]}")
    assert content.decode() == read_back["text"] == "Tracked with Node.js: the loss fell to 0.42.\n"


def test_example_names_a_server_that_does_not_answer(node: str) -> None:
    # A port that no server can have.
    done = track(node, "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "track-run: error: no answer from http://127.0.0.1:1: is it running?\n"
