"""Another estimator with scikit-learn's interface: tracked, registered, scored, promoted and served the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from trainer.data.dataset import Dataset
from trainer.serving.champion import ModelError, load

Trainer = Callable[..., Any]
CASES = {
    "binary": ("sklearn.linear_model:LogisticRegression", "{C: 0.5, max_iter: 500}"),
    "multiclass": ("sklearn.naive_bayes:GaussianNB", "{}"),
    "regression": ("sklearn.linear_model:Ridge", "{alpha: 2.0}"),
}
OWN = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Mine(ClassifierMixin, BaseEstimator):
    def __init__(self, shrink=0.5):
        self.shrink = shrink

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.share_ = float(np.mean(y))
        self.place_ = int(np.argmax(np.abs(np.corrcoef(X.T, y)[-1, :-1])))
        self.middle_ = float(np.median(X[:, self.place_]))
        return self

    def predict_proba(self, X):
        odds = 1 / (1 + np.exp(-self.shrink * (X[:, self.place_] - self.middle_)))
        return np.column_stack([1 - odds, odds])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Half(BaseEstimator):
    def fit(self, X, y):
        return self
"""


def answered(done: Any) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out)


def source_of(dataset: Dataset, task: str) -> tuple[str, ...]:
    if task == "binary":
        return ()
    return ("--data", str(dataset.source), "--target", "y")


@pytest.mark.process
@pytest.mark.parametrize("task", CASES)
def test_estimator_goes_the_whole_way(
    trainer: Trainer, workdir: Path, task: str, classes: Dataset, numbers: Dataset
) -> None:
    """From training to a served answer, and again from its own configuration file."""
    data = source_of({"multiclass": classes}.get(task, numbers), task)
    path, params = CASES[task]
    train = ("train", *data, "--estimator", path, "--estimator-params", params, "--register", "--json")
    run = answered(trainer(*train))
    stored = MlflowClient().get_run(run["run_id"]).data
    assert stored.params["estimator"] == path
    assert not {"num_leaves", "objective"} & set(stored.params)
    file = mlflow.artifacts.download_artifacts(run_id=run["run_id"], artifact_path="config.yaml")
    again = answered(trainer("train", "--config", file, "--json"))
    assert again["metrics"] == run["metrics"]
    model = mlflow.pyfunc.load_model(run["model_uri"])
    rows = (classes if task == "multiclass" else numbers).test.features.head(40)
    if task == "binary":
        rows = model.input_example
    rows.to_csv("new.csv", index=False)
    scored = trainer("predict", "--model", run["model_uri"], "--data", "new.csv", "--out", "scores.parquet", "--json")
    assert f"is scored by scikit-learn, which is slower: its estimator is {path.rpartition(':')[2]}" in scored.err
    expected = np.asarray(model.predict(rows)).tolist()
    assert pd.read_parquet("scores.parquet").iloc[:, -1].tolist() == expected
    (workdir / "policy.yaml").write_text("{minimum: false, champion: false, latency_ms: false}")
    promoted = answered(trainer("promote", *data[:2], "--policy", "policy.yaml", "--json"))
    assert promoted["promoted"], promoted
    served = load(run["model_uri"])
    assert served.trees is None
    assert served.frames is not None
    # pandas' own JSON leaves out the last digits.
    plain = rows.astype(object).where(rows.notna(), None)
    body: dict[str, Any] = {"dataframe_split": {"columns": list(rows), "data": plain.to_numpy().tolist()}}
    if task != "regression":
        body["params"] = {"output": "probability"}
    answer = json.loads(served.frames.answer(json.dumps(body).encode(), "application/json", "").body)
    assert answer["predictions"] == expected
    if task == "multiclass":
        raw: Any = model.get_raw_model()
        assert answer["probabilities"] == raw.predict_proba(rows).tolist()


@pytest.fixture
def own_file(workdir: Path) -> Path:
    """Return a file with an estimator of the user's own."""
    file = workdir / "own_models.py"
    file.write_text(OWN)
    return file


def test_own_class_travels_with_its_model(trainer: Trainer, own_file: Path) -> None:
    """Its file is in the model, so that others load it; and serving takes it only where it takes code."""
    options = ("--estimator", f"{own_file}:Mine", "--estimator-params", "{shrink: 0.25}", "--cv", "3")
    run = answered(trainer("train", *options, "--json"))
    folder = Path(mlflow.artifacts.download_artifacts(run["model_uri"]))
    assert (folder / "code" / own_file.name).is_file()
    described = yaml.safe_load((folder / "MLmodel").read_text())
    assert described["flavors"]["sklearn"]["serialization_format"] == "skops"
    with pytest.raises(ModelError, match="Python files of its own"):
        load(str(folder))
    served = load(str(folder), formats="any")
    assert served.own is not None
    assert MlflowClient().get_run(run["run_id"]).data.params["estimator_shrink"] == "0.25"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--estimator", "sklearn"), "--estimator: 'sklearn' is not allowed; write module:Class"),
        (("--estimator", "nowhere_at_all:Best"), "the module 'nowhere_at_all' cannot be imported: No module named"),
        (("--estimator", "lost.py:Best"), "--estimator: lost.py: no such file"),
        (("--estimator", "sklearn.ensemble:RandomForrest"), "has no class 'RandomForrest'; did you mean"),
        (("--estimator", "own_models.py:Half"), "Half has no predict; it needs scikit-learn's interface"),
        (
            ("--estimator", "sklearn.linear_model:RidgeClassifier"),
            "RidgeClassifier has no predict_proba, which a binary target needs",
        ),
        (
            ("--estimator", "sklearn.linear_model:LogisticRegression", "--estimator-params", "{depth: 3}"),
            "--estimator-params: LogisticRegression refuses:",
        ),
        (
            ("--estimator", "sklearn.linear_model:LogisticRegression", "--estimator-params", "{C: many}"),
            "--estimator-params: LogisticRegression refuses: The 'C' parameter",
        ),
        (("--estimator", "sklearn.dummy:DummyClassifier", "--estimator-params", "[1]"), "is no mapping; write such as"),
        (("--estimator-params", "{a: 1}"), "--estimator-params: name the estimator with --estimator"),
        (("--estimator", "sklearn.dummy:DummyClassifier", "--num-leaves", "7"), "--num-leaves is LightGBM's"),
        (("--estimator", "sklearn.dummy:DummyClassifier", "--explain", "all"), "--explain takes LightGBM's trees"),
        (
            ("--estimator", "sklearn.dummy:DummyClassifier", "--stream", "always"),
            "--estimator needs the table in memory",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(trainer: Trainer, own_file: Path, options: tuple[str, ...], says: str) -> None:
    assert own_file.is_file()
    done = trainer("train", *options)
    assert done.code != 0
    assert says in done.error


def test_baselines_need_the_table_in_memory(trainer: Trainer, workdir: Path) -> None:
    done = trainer("sweep", "--grid", "num_leaves=3,4", "--baselines", "--stream", "always", "--jobs", "1")
    assert done.code == 2
    assert done.error == "--stream always goes with LightGBM alone: --baselines needs the table in memory"
    assert not list(workdir.glob("mlruns"))


@pytest.mark.parametrize("params", ["{depth: 3}", "{C: many}", "{max_iter: -1}"])
def test_params_are_refused_before_the_data(trainer: Trainer, params: str) -> None:
    """What is wrong with the parameters is told at once, not after a large file is read."""
    estimator = ("--estimator", "sklearn.linear_model:LogisticRegression", "--estimator-params", params)
    done = trainer("train", "--data", "no-such-file.csv", "--target", "y", *estimator)
    assert done.code != 0
    assert "--estimator-params: LogisticRegression refuses:" in done.error


def test_probabilities_are_asked_before_the_data(trainer: Trainer) -> None:
    options = (
        "--estimator",
        "sklearn.svm:LinearSVC",
        "--task",
        "binary",
        "--data",
        "no-such-file.csv",
        "--target",
        "y",
    )
    done = trainer("train", *options)
    assert "LinearSVC has no predict_proba" in done.error
