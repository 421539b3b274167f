"""What was trained can be used: files are scored and runs compared in the container, and the results come out of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from trainer.data import demo
from trainer.data.demo import generate_sessions

from .stack import Stack


@pytest.fixture(scope="module")
def new_sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sessions that no training has seen, as CSV and as Parquet; two of the files are broken."""
    folder = tmp_path_factory.mktemp("new")
    folder.chmod(0o755)
    table = generate_sessions(rows=5_000, seed=11).drop(columns=demo.TARGET)
    table.to_csv(folder / "new.csv", index=False)
    table.to_parquet(folder / "new.parquet", index=False)
    table.drop(columns="page_value").to_csv(folder / "lacks.csv", index=False)
    (folder / "empty.csv").write_text("")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder for results: of the user who runs this, as `git clone` leaves it."""
    folder = tmp_path / "out"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def uris(client: MlflowClient, baseline: dict[str, Any]) -> dict[str, str]:
    """Each way to name the baseline's model."""
    run = client.get_run(baseline["run_id"])
    assert run.outputs is not None
    model = f"models:/{run.outputs.model_outputs[0].model_id}"
    client.create_registered_model("scoring")
    version = client.create_model_version("scoring", model, run.info.run_id, model_id=model.removeprefix("models:/"))
    client.set_registered_model_alias("scoring", "champion", version.version)
    return {
        "run": f"runs:/{run.info.run_id}/model",
        "id": model,
        "version": f"models:/scoring/{version.version}",
        "alias": "models:/scoring@champion",
    }


@pytest.mark.parametrize(("kind", "file"), [("run", "new.csv"), ("id", "new.parquet"), ("alias", "new.csv")])
def test_scored_file_belongs_to_the_user(
    stack: Stack, uris: dict[str, str], new_sessions: Path, out: Path, kind: str, file: str
) -> None:
    """A scored file belongs to the user and holds the scores of the model."""
    options = ["--model", uris[kind], "--data", f"/data/{file}", "--out", "/out/scores.csv", "--json"]
    done = stack.run_trainer("predict", *options, data=new_sessions, out=out, user=os.getuid())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 5_000
    assert [entry.name for entry in out.iterdir()] == ["scores.csv"]
    assert (out / "scores.csv").stat().st_uid == os.getuid()
    scored = pd.read_csv(out / "scores.csv")
    model = mlflow.sklearn.load_model(uris["run"])
    table = pd.read_parquet(new_sessions / "new.parquet")
    assert scored["class"].tolist() == model.predict(table).tolist()
    assert scored["probability"].tolist() == model.predict_proba(table)[:, 1].tolist()


@pytest.mark.skipif(os.getuid() == 1004, reason="the folder is the container's own user's then")
def test_a_folder_of_another_user_is_one_line(
    stack: Stack, uris: dict[str, str], new_sessions: Path, out: Path
) -> None:
    options = ["--model", uris["version"], "--data", "/data/new.csv", "--out", "/out/scores.csv"]
    done = stack.run_trainer("predict", *options, data=new_sessions, out=out)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    assert "the folder /out is not writable by user 1004" in line
    assert not list(out.iterdir())
    # Opened for everyone, it will do.
    out.chmod(0o777)
    done = stack.run_trainer("predict", *options, data=new_sessions, out=out)
    assert done.returncode == 0, done.stderr
    assert (out / "scores.csv").stat().st_uid == 1004


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--data": "/data/lacks.csv"}, ["/data/lacks.csv", "page_value"]),
        ({"--data": "/data/empty.csv"}, ["/data/empty.csv", "is empty"]),
        ({"--model": "models:/scoring@nobody"}, ["models:/scoring@nobody"]),
        ({"--model": "runs:/" + "0" * 32 + "/model"}, ["0" * 32, "not found"]),
        ({"--out": "/out/no/scores.csv"}, ["there is no folder /out/no"]),
        ({"--tracking-uri": "http://mlflow:5001", "--wait": "0"}, ["http://mlflow:5001"]),
    ],
)
def test_bad_input_is_one_line_and_no_file(
    stack: Stack, uris: dict[str, str], new_sessions: Path, out: Path, changes: dict[str, str], words: list[str]
) -> None:
    options = {"--model": uris["version"], "--data": "/data/new.csv", "--out": "/out/scores.csv", **changes}
    arguments = [word for pair in options.items() for word in pair]
    done = stack.run_trainer("predict", *arguments, data=new_sessions, out=out, user=os.getuid())
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: error: ")]
    for word in words:
        assert word in line
    assert "Traceback" not in done.stderr
    assert not list(out.iterdir())


def test_sweep_report_is_one_file_with_plots(stack: Stack, sweep: dict[str, Any], out: Path) -> None:
    """A sweep's report is one file with the pictures in it."""
    options = ["--sweep", sweep["run_id"], "--html", "/out/report.html", "--json"]
    done = stack.run_trainer("compare", *options, out=out, user=os.getuid())
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)
    assert {run["run_id"] for run in compared["runs"]} == {variant["run_id"] for variant in sweep["variants"]}
    assert {"learning_rate", "n_estimators"} <= set(compared["differing_params"])
    page = (out / "report.html").read_text()
    assert page.count("<svg ") >= 3
    # Nothing is loaded from elsewhere; links lead to the UI as a browser finds it.
    assert not re.search(r'(?:src|href)="(?!#|data:|http://mlflow\.test:5000/)', page)


def test_runs_and_models_stand_side_by_side(
    stack: Stack, uris: dict[str, str], baseline: dict[str, Any], sweep: dict[str, Any]
) -> None:
    best = sweep["best_run_id"]
    done = stack.run_trainer("compare", uris["alias"], best, f"runs:/{best}/model")
    assert done.returncode == 0, done.stderr
    assert baseline["run_id"] in done.stdout
    assert best in done.stdout
    assert "average_precision" in done.stdout
