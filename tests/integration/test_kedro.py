"""A Kedro pipeline tracks to the stack by kedro-mlflow, and what it prepares is what the trainer takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from trainer.data.demo import generate_sessions

from .stack import ROOT, Stack

PARTS = ("X_train", "X_test", "y_train", "y_test")
ROWS = 3_000


class Prepared(NamedTuple):
    """What the pipeline left: the raw table, the folder of four files, and its run."""

    raw: pd.DataFrame
    folder: Path
    run: Run


@pytest.fixture(scope="module")
def prepared(stack: Stack, client: MlflowClient, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The example's pipeline, run on generated sessions in a copy of the project."""
    project = tmp_path_factory.mktemp("kedro") / "project"
    shutil.copytree(ROOT / "examples" / "kedro", project, ignore=shutil.ignore_patterns("data", "__pycache__"))
    output = project / "shop"
    output.mkdir()
    raw = generate_sessions(rows=ROWS, seed=3)
    raw.to_csv(project / "raw.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--params", f"raw={project / 'raw.csv'},output={output}"],
        cwd=project,
        env={**os.environ, "MLFLOW_TRACKING_URI": stack.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Kedro's telemetry is off: with it, an identifier would be written into the project.
    assert (project / "pyproject.toml").read_text() == (ROOT / "examples" / "kedro" / "pyproject.toml").read_text()
    experiment = client.get_experiment_by_name("purchase_data")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], max_results=1)
    for path in output.iterdir():
        path.chmod(0o644)
    output.chmod(0o755)
    return Prepared(raw, output, run)


def test_run_of_the_pipeline_is_tracked(prepared: Prepared) -> None:
    run = prepared.run
    assert (run.info.run_name, run.info.status) == ("split", "FINISHED")
    assert {name: run.data.params[name] for name in ("target", "test_size", "seed")} == {
        "target": "purchase",
        "test_size": "0.2",
        "seed": "42",
    }
    share = pd.read_csv(prepared.folder / "y_train.csv")["purchase"].mean()
    assert run.data.metrics == {"purchase_share": pytest.approx(share)}


def test_four_files_are_artifacts_in_the_bucket(stack: Stack, prepared: Prepared) -> None:
    place = prepared.run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    for part in PARTS:
        content = stack.object_content(f"{place}/data/{part}.csv")
        assert content == (prepared.folder / f"{part}.csv").read_bytes()


def test_trainer_takes_what_the_pipeline_prepared(stack: Stack, client: MlflowClient, prepared: Prepared) -> None:
    assert sorted(path.name for path in prepared.folder.iterdir()) == sorted(f"{part}.csv" for part in PARTS)
    tables = {part: pd.read_csv(prepared.folder / f"{part}.csv") for part in PARTS}
    # Nothing is lost and nothing is doubled.
    whole = pd.concat([tables["X_train"].join(tables["y_train"]), tables["X_test"].join(tables["y_test"])])
    columns = list(prepared.raw.columns)
    pd.testing.assert_frame_equal(
        whole[columns].sort_values(columns).reset_index(drop=True),
        pd.read_csv(prepared.folder.parent / "raw.csv").sort_values(columns).reset_index(drop=True),
    )
    result = stack.train("--experiment", "from_kedro", data=prepared.folder)
    run = client.get_run(result["run_id"])
    assert run.inputs is not None
    rows = {entry.tags[0].value: entry.dataset.profile for entry in run.inputs.dataset_inputs}
    assert f'"num_rows": {len(tables["X_train"])}' in str(rows["training"])
    assert f'"num_rows": {len(tables["X_test"])}' in str(rows["testing"])
    assert len(tables["X_test"]) == ROWS // 5
    assert run.data.metrics["average_precision"] > 2 * prepared.raw["purchase"].mean()
