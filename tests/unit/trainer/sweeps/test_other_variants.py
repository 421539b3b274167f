"""Another estimator as a variant of a sweep: trained, chosen, registered and repeated as LightGBM's are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import trainer as interface
import yaml
from mlflow import MlflowClient
from trainer.data.dataset import Dataset

Trainer = Callable[..., Any]
LINEAR = "sklearn.linear_model:LogisticRegression"
FILE = f"""
- n_estimators: 1
- {{n_estimators: 2, max_depth: 2}}
- estimator: {LINEAR}
  estimator_params: {{C: 0.5, max_iter: 500}}
- name: same but named
  estimator: {LINEAR}
"""


@pytest.mark.process
def test_other_estimator_can_be_the_best(trainer: Trainer, workdir: Path) -> None:
    """One tree says little, so the linear model wins; the sweep's own configuration file finds all of them again."""
    Path("variants.yaml").write_text(FILE)
    sweep = ("sweep", "--variants", "variants.yaml", "--learning-rate", "0.001", "--monotone", "page_value=+1")
    done = trainer(*sweep, "--explain", "100", "--jobs", "2", "--json")
    assert done.code == 0, done.err
    assert "--explain holds for LightGBM's variants alone" in done.err
    assert "--monotone holds for LightGBM's variants alone" in done.err
    content = json.loads(done.out)
    assert [one["name"] for one in content["variants"]] == [
        "n_estimators=1",
        "n_estimators=2 max_depth=2",
        "LogisticRegression C=0.5 max_iter=500",
        "same but named",
    ]
    others = {one["run_id"] for one in content["variants"][2:]}
    assert content["best_run_id"] in others
    client = MlflowClient()
    assert client.get_model_version("purchase_predict", content["registered"]["version"]).run_id in others
    runs = [client.get_run(one["run_id"]) for one in content["variants"]]
    assert [run.data.params.get("estimator") for run in runs] == [None, None, LINEAR, LINEAR]
    assert ["monotone" in run.data.params for run in runs] == [True, True, False, False]
    file = mlflow.artifacts.download_artifacts(run_id=content["run_id"], artifact_path="config.yaml")
    assert yaml.safe_load(Path(file).read_text())["variants"][2] == {
        "name": "LogisticRegression C=0.5 max_iter=500",
        "estimator": LINEAR,
        "estimator_params": {"C": 0.5, "max_iter": 500},
    }
    again = json.loads(trainer("sweep", "--config", file, "--jobs", "2", "--json").out)
    assert [one["reused"] for one in again["variants"]] == [True] * 4
    # The run's own file has nothing that holds for trees alone.
    file = mlflow.artifacts.download_artifacts(run_id=runs[2].info.run_id, artifact_path="config.yaml")
    alone = trainer("train", "--config", file, "--json")
    assert alone.code == 0, alone.err
    assert json.loads(alone.out)["metrics"] == content["variants"][2]["metrics"]


def test_sweep_of_other_estimators_in_python(dataset: Dataset, workdir: Path) -> None:
    """No variant need be LightGBM's."""
    items = [{"estimator": LINEAR, "estimator_params": {"C": c}} for c in (0.1, 1.0)]
    done = interface.sweep(dataset, items, jobs=1)
    assert [one.name for one in done.results] == ["LogisticRegression C=0.1", "LogisticRegression C=1.0"]
    assert done.best is not None
    assert MlflowClient().get_run(done.run_id).data.params["variants"] == "2"
    assert workdir.exists()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (
            "- estimator: sklearn.linear_model:Ridge\n  num_leaves: 3",
            "num_leaves is LightGBM's; an estimator takes",
        ),
        ("- estimator_params: {C: 1}", "name the estimator with estimator"),
        ("- estimator: nowhere", "item 1: --estimator: 'nowhere' is not allowed; write module:Class"),
        (f"- estimator: {LINEAR}\n- estimator: {LINEAR}", "item 2 is the same variant as item 1"),
        (f"- estimator: {LINEAR}\n  estimator_params: {{Q: 1}}", "LogisticRegression refuses"),
    ],
    ids=["mixed", "no estimator", "no class", "twice", "parameter"],
)
def test_wrong_estimator_in_a_file_is_one_line(trainer: Trainer, workdir: Path, file: str, words: str) -> None:
    Path("variants.yaml").write_text(file)
    done = trainer("sweep", "--variants", "variants.yaml")
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1)
    assert words in done.err


@pytest.mark.parametrize("command", ["grid", "paired", "search"])
def test_estimator_elsewhere_is_one_line(trainer: Trainer, workdir: Path, command: str) -> None:
    """Lists and searches vary LightGBM's parameters; the line says where another estimator goes."""
    Path("space.yaml").write_text(f"estimator: [{LINEAR}]\nnum_leaves: [3, 4]\n")
    if command == "search":
        done = trainer("search", "--space", "space.yaml")
        assert "a search tunes LightGBM's parameters; another estimator goes into a sweep" in done.err
    else:
        done = trainer("sweep", f"--{command}", f"estimator={LINEAR}")
        assert "another estimator is an item of the file --variants" in done.err
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1)
    assert workdir.exists()
