"""Models of several classes and of numbers in the stack: trained, registered, promoted, scored and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient

from .stack import Stack, wait_until


def sessions(task: str) -> pd.DataFrame:
    """Returns a table whose column y is one of four classes, or a number."""
    rng = np.random.default_rng(4)
    table = pd.DataFrame(rng.normal(size=(900, 3)), columns=["a", "b", "c"])
    table["month"] = rng.choice(["Jan", "Feb", "März"], len(table))
    score = table["a"] + 0.5 * table["b"] + (table["month"] == "Feb") + rng.normal(size=len(table)) / 2
    names = np.array(["low", "mid", "high", "très high"])
    return table.assign(y=names[np.digitize(score, [-1, 0.5, 1.5])] if task == "multiclass" else 100 * score)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_model_of_a_task_goes_all_the_way(stack: Stack, client: MlflowClient, tmp_path: Path, task: str) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    for one in (folder, out):
        one.mkdir()
        one.chmod(0o777)
    table = sessions(task)
    table.to_csv(folder / "table.csv", index=False)
    (folder / "policy.yaml").write_text("{latency_ms: 5000}")
    name = f"target-{task}"
    data = ("--data", "/data/table.csv", "--target", "y")

    def run(*args: str) -> Any:
        done = stack.run_trainer(*args, "--json", data=folder, out=out)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    trained = run("train", *data, "--n-estimators", "30", "--register", "--model-name", name)
    plots = {Path(one.path).name for one in client.list_artifacts(trained["run_id"], "plots")}
    assert ("residuals.png" in plots, "confusion_matrix.png" in plots) == (task == "regression", task == "multiclass")
    promoted = run("promote", *data, "--model-name", name, "--policy", "/data/policy.yaml")
    assert promoted["promoted"]
    assert client.get_model_version_by_alias(name, "champion").version == trained["registered"]["version"]

    run("predict", "--model", f"models:/{name}@champion", "--data", "/data/table.csv", "--out", "/out/scores.csv")
    scores = pd.read_csv(out / "scores.csv")
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    expected = model.predict(table.drop(columns="y")).tolist()
    assert scores[scores.columns[-1]].tolist() == expected

    serving = stack.start("serving", settings={"SERVING_MODEL": f"models:/{name}@champion"})
    url, edge = stack.publish(serving, 5001)
    try:
        rows = json.loads(table.drop(columns="y").head(50).to_json(orient="records"))

        def ask(**params: str) -> requests.Response:
            return requests.post(f"{url}/invocations", json={"dataframe_records": rows, "params": params}, timeout=30)

        def served() -> bool:
            try:
                return ask().status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(served, "the model is served", 90)
        assert ask().json() == {"predictions": expected[:50]}
        assert "by MLflow's own scoring server" not in serving.logs().decode()
        if task == "multiclass":
            told = ask(output="probability").json()
            found = scores[[f"probability_{label}" for label in told["classes"]]].head(50)
            np.testing.assert_array_equal(told["probabilities"], found.to_numpy())
    finally:
        for container in (edge, serving):
            container.remove(force=True)
