"""All commands with a target of several classes and with one that is a number, from the command line on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from mlflow import MlflowClient
from trainer.config.task import TASKS
from trainer.data.dataset import Dataset

Trainer = Callable[..., Any]
SMALL = ("--n-estimators", "6", "--num-leaves", "6")
PLOTS = {
    "multiclass": {"pr_curve", "roc_curve", "confusion_matrix"},
    "regression": {"predicted_actual", "residuals"},
}


@pytest.fixture(params=["multiclass", "regression"])
def table(request: pytest.FixtureRequest, classes: Dataset, numbers: Dataset, workdir: Path) -> tuple[str, Path]:
    """Return a task, and a table with such a target."""
    dataset = classes if request.param == "multiclass" else numbers
    path = workdir / "table.csv"
    path.write_bytes(Path(dataset.source).read_bytes())
    return str(request.param), path


def answered(done: Any) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_train_tracks_and_prints(trainer: Trainer, table: tuple[str, Path]) -> None:
    task, path = table
    done = trainer("train", "--data", path, "--target", "y", *SMALL, "--explain", "100")
    assert done.code == 0, done.err
    assert f"the task is {task}" in done.err
    assert f"target y ({task})" in done.err
    assert all(head in done.out for head in TASKS[task].heads.values())  # type: ignore[index]
    assert "threshold" not in done.out
    client = MlflowClient()
    experiment = client.get_experiment_by_name("purchase_predict")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    spec = TASKS[task]  # type: ignore[index]
    assert set(spec.metrics) <= set(run.data.metrics)
    assert {f"validation_{name}" for name in spec.metrics} <= set(run.data.metrics)
    assert (run.data.params["task"], run.data.params["chosen_by"]) == (task, spec.choices[0])
    assert "threshold_rule" not in run.data.params
    assert len(client.get_metric_history(run.info.run_id, f"validation_{spec.loss}")) == 6
    plots = {Path(one.path).stem for one in client.list_artifacts(run.info.run_id, "plots")}
    assert plots == PLOTS[task] | {"feature_importance", "learning_curve", "contributions"}
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert model.metadata.signature.outputs.to_dict()[0]["type"] == {"multiclass": "string"}.get(task, "double")
    assert len(model.predict(model.input_example)) == len(model.input_example)


def test_predict_and_evaluate_agree_with_the_model(trainer: Trainer, table: tuple[str, Path]) -> None:
    task, path = table
    run = answered(trainer("train", "--data", path, "--target", "y", *SMALL, "--json"))
    model = ("--model", run["model_uri"])
    scored = answered(trainer("predict", *model, "--data", path, "--out", "scores.parquet", "--jobs", "2", "--json"))
    assert (scored["scorer"], scored["positives"], scored["threshold"]) == ("trees", None, None)
    found = pd.read_parquet("scores.parquet")
    rows = pd.read_csv(path).drop(columns="y")
    own = mlflow.sklearn.load_model(run["model_uri"])
    if task == "multiclass":
        names = [f"probability_{name}" for name in own.classes_]
        assert found.columns.tolist() == [*names, "class"]
        np.testing.assert_array_equal(found[names].to_numpy(), own.predict_proba(rows))
    expected = own.predict(rows)
    np.testing.assert_array_equal(found[found.columns[-1]].to_numpy(), expected)
    evaluated = answered(trainer("evaluate", *model, "--data", path, "--target", "y", "--json"))
    assert (evaluated["task"], evaluated["threshold"]) == (task, None)
    assert evaluated["metrics"] == {name: run["metrics"][name] for name in evaluated["metrics"]}
    whole = answered(trainer("evaluate", *model, "--data", path, "--target", "y", "--all", "--json"))["metrics"]
    true = pd.read_csv(path)["y"]
    if task == "multiclass":
        assert whole["f1_macro"] == sklearn.metrics.f1_score(true, expected, average="macro")
    else:
        assert whole["rmse"] == sklearn.metrics.root_mean_squared_error(true, expected)


@pytest.mark.process
def test_sweep_registers_the_best(trainer: Trainer, table: tuple[str, Path]) -> None:
    task, path = table
    sweep = ("sweep", "--data", path, "--target", "y", *SMALL, "--grid", "learning_rate=0.01,0.3", "--cv", "2")
    done = answered(trainer(*sweep, "--jobs", "1", "--json"))
    spec = TASKS[task]  # type: ignore[index]
    chosen = f"validation_{spec.choices[0]}"
    assert [one["status"] for one in done["variants"]] == ["FINISHED", "FINISHED"]
    best = min(done["variants"], key=lambda one: one["metrics"][chosen])
    assert done["best_run_id"] == best["run_id"]
    version = MlflowClient().get_model_version("purchase_predict", done["registered"]["version"])
    assert float(version.tags[f"test.{spec.metrics[0]}"]) == best["metrics"][spec.metrics[0]]
    files = {Path(one.path).name for one in MlflowClient().list_artifacts(done["run_id"], "plots")}
    names = ["parameters", *(["pr_curves"] if task == "multiclass" else [])]
    assert files == {f"{name}.{kind}" for name in names for kind in ("png", "csv")}
    again = answered(trainer(*sweep, "--jobs", "1", "--json"))
    assert [one["reused"] for one in again["variants"]] == [True, True]
    shown = trainer("compare", "--sweep", done["run_id"], "--html", "report.html")
    assert shown.code == 0, shown.err
    assert f"ordered by {chosen}" in shown.out
    assert "f1/" not in shown.out


@pytest.mark.process
def test_search_prunes_and_chooses_by_one_metric(trainer: Trainer, table: tuple[str, Path], workdir: Path) -> None:
    task, path = table
    (workdir / "space.yaml").write_text("{learning_rate: [0.3, 0.001], n_estimators: 20, num_leaves: [4, 5]}")
    metric = {"multiclass": "f1_macro", "regression": "mae"}[task]
    search = ("search", "--data", path, "--target", "y", "--space", "space.yaml", "--trials", "8", "--jobs", "1")
    done = answered(trainer(*search, "--metric", metric, "--json"))
    finished = [one for one in done["variants"] if one["status"] == "FINISHED"]
    sign = -1 if metric == "mae" else 1
    best = max(finished, key=lambda one: sign * one["metrics"][f"validation_{metric}"])
    assert done["best_run_id"] == best["run_id"]
    assert len(done["variants"]) == 8
    pruned = [one for one in done["variants"] if one["status"] == "PRUNED"]
    assert all(one["overrides"]["learning_rate"] == 0.001 for one in pruned)


@pytest.mark.process
def test_promotion_has_the_tasks_constraints(trainer: Trainer, table: tuple[str, Path], workdir: Path) -> None:
    task, path = table
    train = ("train", "--data", path, "--target", "y", "--register", "--json")
    answered(trainer(*train, "--n-estimators", "30"))
    promote = ("promote", "--data", path, "--target", "y", "--json")
    (workdir / "lenient.yaml").write_text("latency_ms: false")
    done = answered(trainer(*promote, "--policy", "lenient.yaml"))
    names = {one["name"] for one in done["constraints"]}
    assert names >= ({"roc_auc_macro", "log_loss vs champion"} if task == "multiclass" else {"r2", "r2 vs champion"})
    assert done["promoted"]
    answered(trainer(*train, "--n-estimators", "1", "--learning-rate", "0.01"))
    worse = trainer(*promote, "--policy", "lenient.yaml")
    assert worse.code == 3
    bound = {"multiclass": "minimum: {recall/low: 1}", "regression": "maximum: {rmse: 0.5}"}[task]
    (workdir / "strict.yaml").write_text(f"{{{bound}, champion: false, latency_ms: false}}")
    refused = trainer(*promote, "--policy", "strict.yaml")
    assert refused.code == 3
    assert ("recall/low" if task == "multiclass" else "rmse") in refused.err
    (workdir / "foreign.yaml").write_text("{minimum: {f1: 0.1}, champion: false, latency_ms: false}")
    assert (
        f"f1: must be ≥ 0.1000, a {task} model has no such metric" in trainer(*promote, "--policy", "foreign.yaml").err
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--threshold", "0.3"), "has no threshold; leave it out"),
        (("--metric", "average_precision"), "--metric: 'average_precision' is none of a"),
        (("--positive", "low"), "--positive low must be one of the target's two values"),
        (("--scale-pos-weight", "2"), "scale_pos_weight weights two classes"),
        (("--task", "binary"), "the target must have two classes"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    trainer: Trainer, table: tuple[str, Path], options: tuple[str, ...], words: str
) -> None:
    done = trainer("train", "--data", table[1], "--target", "y", *options)
    assert done.code == 2
    assert words in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_contributions_add_up(trainer: Trainer, table: tuple[str, Path]) -> None:
    """To the score of the called class, or to the number."""
    task, path = table
    run = answered(trainer("train", "--data", path, "--target", "y", *SMALL, "--explain", "all", "--json"))
    file = mlflow.artifacts.download_artifacts(run_id=run["run_id"], artifact_path="contributions.csv")
    with Path(file).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    sums = [sum(float(row[name]) for name in row if name.startswith(("shap_", "base"))) for row in rows]
    if task == "regression":
        np.testing.assert_allclose(sums, [float(row["prediction"]) for row in rows])
        return
    own = mlflow.sklearn.load_model(run["model_uri"])
    features = pd.DataFrame([{name[6:]: row[name] for name in row if name.startswith("value_")} for row in rows])
    assert set(features.columns) == {"a", "b", "c", "month", "weekend"}
    assert {row["class"] for row in rows} <= set(own.classes_)
    assert all(float(row["probability"]) >= 1 / len(own.classes_) for row in rows)


def test_original_labels_of_two_classes(trainer: Trainer, workdir: Path) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    named = np.where(x + rng.normal(size=400) > 0.5, "bad", "good")
    pd.DataFrame({"x": x, "risk": named}).to_csv("t.csv", index=False)
    run = answered(trainer("train", "--data", "t.csv", "--target", "risk", "--positive", "bad", *SMALL, "--json"))
    predict = ("predict", "--model", run["model_uri"], "--data", "t.csv", "--json", "--out")
    codes = answered(trainer(*predict, "codes.csv"))
    named_too = answered(trainer(*predict, "names.csv", "--original-labels"))
    assert codes["positives"] == named_too["positives"] > 0
    expected = pd.read_csv("codes.csv")["class"].map({0: "good", 1: "bad"})
    assert pd.read_csv("names.csv")["class"].tolist() == expected.tolist()


# The version is scored in a fresh interpreter, which a promotion starts.
@pytest.mark.process
@pytest.mark.cold
def test_promotion_knows_the_models_own_task(trainer: Trainer, workdir: Path) -> None:
    """Amounts that look like classes: what the model was trained for holds, and not what the values look like."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=400)
    amounts = np.clip(np.round(4 + 2 * x + rng.normal(size=400)), 0, 9)
    amounts[0] = 15
    pd.DataFrame({"x": x, "amount": amounts}).to_csv("t.csv", index=False)
    data = ("--data", "t.csv", "--target", "amount")
    guessed = trainer("train", *data, *SMALL)
    assert guessed.code == 2
    assert "of class 15 only 1; each class needs at least 3" in guessed.err
    answered(trainer("train", *data, "--task", "regression", "--n-estimators", "30", "--register", "--json"))
    (workdir / "lenient.yaml").write_text("latency_ms: false")
    done = answered(trainer("promote", *data, "--policy", "lenient.yaml", "--json"))
    assert done["promoted"]
    assert "r2" in done["metrics"]["version"]
