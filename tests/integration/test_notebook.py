"""The notebook runs from top to bottom against the stack, and leaves there what it says."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from nbclient import NotebookClient

from .notebook import FILE, NAME, execute, read
from .stack import Stack, wait_until


@pytest.fixture(scope="module")
def executed(stack: Stack, client: MlflowClient, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook with its outputs, after a run in an empty folder that knows the server's address only."""
    settings = {"SERVING_MODEL": f"models:/{NAME}@champion", "SERVING_INTERVAL": "1"}
    serving = stack.start("serving", settings=settings)
    url, edge = stack.publish(serving, 5001)

    def served() -> bool:
        try:
            return requests.get(f"{url}/ping", timeout=10).ok
        except requests.ConnectionError:
            return False

    def wait_for_champion(cell: Any, **_: Any) -> None:
        if "SERVING_URL" in cell.source:
            wait_until(served, "the champion is served")

    variables = {"MLFLOW_TRACKING_URI": stack.url, "SERVING_URL": url}
    notebook = execute(tmp_path_factory.mktemp("notebook"), variables, wait_for_champion)
    for container in (serving, edge):
        container.remove(force=True)
    return notebook


def test_committed_notebook_has_no_outputs() -> None:
    for cell in read().cells:
        assert not cell.get("outputs"), f"remove the outputs of {FILE.name}"
        assert cell.get("execution_count") is None


def test_notebook_tracks_locally_and_shows_metrics(executed: Any) -> None:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    # The loss and the precision-recall curve.
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    text = "".join(output.get("text", "") for output in outputs)
    assert "predicted to end in a purchase" in text
    assert "Traceback" not in text
    answers = [output["data"]["text/plain"] for output in outputs if "predictions" in str(output.get("data", {}))]
    assert len(answers) == 1
    assert "'models:/purchase_notebook/1'" in answers[0]


def test_notebook_explains_a_missing_champion() -> None:
    """Notebook says what to do where nothing serves."""
    notebook = read()
    (cell,) = [cell for cell in notebook.cells if "SERVING_URL" in cell.source]
    # Alone, with a row of its own; and a port that no server can have.
    before = "import json, os, pandas\nos.environ['SERVING_URL'] = 'http://127.0.0.1:1'\n"
    cell.source = f"{before}new_sessions = pandas.DataFrame({{'purchase': [0]}})\n{cell.source}"
    notebook.cells = [cell]
    NotebookClient(notebook, timeout=120).execute()
    assert [output["text"] for output in cell.outputs] == [
        "Nothing answers at http://127.0.0.1:1: give the command above, then run this cell again.\n"
    ]


def test_notebook_leaves_runs_with_history_and_curve(executed: Any, stack: Stack, client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"baseline", "variants", "50 trees, 0.1", "100 trees, 0.05", "200 trees, 0.025"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs.pop("variants").info.run_id
    del runs["baseline"]
    for run in runs.values():
        assert run.data.tags["mlflow.parentRunId"] == parent
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "validation_loss")]
        assert sorted(steps) == list(range(1, int(run.data.params["n_estimators"]) + 1))
        place = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
        assert stack.object_content(f"{place}/plots/pr_curve.png").startswith(b"\x89PNG")


def test_notebook_sweeps_with_the_trainers_functions(executed: Any, client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name(f"{NAME}_sweep")
    assert experiment is not None
    children = client.search_runs([experiment.experiment_id], "tags.mlflow.parentRunId LIKE '%'")
    assert {run.data.params["n_estimators"] for run in children} == {"50", "100", "200"}
    assert {run.info.status for run in children} == {"FINISHED"}


def test_notebook_makes_the_best_champion(executed: Any, stack: Stack, client: MlflowClient) -> None:
    """Notebook leaves the best variant as champion."""
    champion = client.get_model_version_by_alias(NAME, "champion")
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    query = "tags.mlflow.parentRunId LIKE '%'"
    runs = client.search_runs([experiment.experiment_id], query, order_by=["metrics.average_precision DESC"])
    assert champion.run_id == runs[0].info.run_id
