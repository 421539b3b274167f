"""A model version that was made here loads on another stack, with the run that made it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from trainer.data import demo
from trainer.data.demo import generate_sessions

from .stack import Stack

NAME = "pushed_purchase"


def push(source: Stack, target: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs trainer push on the host: each stack's server is reached from there, and from no other stack's network."""
    command = [sys.executable, "-m", "trainer", "push", "--from", source.url, "--to", target.url, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def predictions(stack: Stack, uri: str) -> Any:
    """Returns what a stack's model says to sessions that no training has seen."""
    mlflow.set_tracking_uri(stack.url)
    features = generate_sessions(rows=500, seed=11).drop(columns=demo.TARGET)
    return mlflow.sklearn.load_model(uri).predict_proba(features)


def test_version_is_copied_to_another_stack_once(
    stack: Stack, crash_stack: Stack, client: MlflowClient, baseline: dict[str, Any]
) -> None:
    version = mlflow.register_model(baseline["model_uri"], NAME)
    done = push(stack, crash_stack, f"models:/{NAME}/{version.version}", "--alias", "champion", "--json")
    assert done.returncode == 0, done.stderr
    pushed = json.loads(done.stdout)
    there = MlflowClient(crash_stack.url, crash_stack.url)
    try:
        expected = predictions(stack, f"models:/{NAME}/{version.version}")
        np.testing.assert_array_equal(predictions(crash_stack, f"models:/{NAME}@champion"), expected)
    finally:
        # The other tests' server.
        mlflow.set_tracking_uri(stack.url)
    old, new = client.get_run(baseline["run_id"]), there.get_run(pushed["run_id"])
    assert (new.data.params, new.data.metrics) == (old.data.params, old.data.metrics)
    query = "SELECT step, value FROM metrics WHERE run_uuid = %s AND key = 'validation_log_loss' ORDER BY step"
    assert crash_stack.sql(query, pushed["run_id"]) == stack.sql(query, baseline["run_id"])
    pictures = [run.info.artifact_uri.removeprefix("mlflow-artifacts:/") + "/plots/pr_curve.png" for run in (old, new)]
    assert crash_stack.object_content(pictures[1]) == stack.object_content(pictures[0])
    assert new.data.tags["trainer.push.run_id"] == baseline["run_id"]

    objects = crash_stack.object_names()
    again = push(stack, crash_stack, f"models:/{NAME}/{version.version}")
    assert again.returncode == 0, again.stderr
    assert "was there already" in again.stdout
    assert crash_stack.object_names() == objects
    assert len(there.search_model_versions(f"name = '{NAME}'")) == 1


def test_copy_to_the_same_stack_is_refused(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> None:
    """Copy to the same stack is refused in the container."""
    version = mlflow.register_model(baseline["model_uri"], NAME)
    done = stack.run_trainer("push", f"models:/{NAME}/{version.version}", "--to", "http://mlflow:5000")
    assert done.returncode == 2
    assert "--to and --from are one server" in done.stderr.splitlines()[-1]
