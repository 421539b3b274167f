"""One variant from end to end, in the embedded store: what is logged can be read back and used."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image
from trainer.config import parameter_table
from trainer.config.parameter import Value
from trainer.config.variant import Variant, complete_params, make_variant
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.runs import cache_key
from trainer.runs.plan import Plan, TrainResult
from trainer.runs.train import train_run
from trainer.tracking.connection import connect
from trainer.tracking.inputs import dataset_inputs, described_inputs
from trainer.training.fit import fit_variant
from trainer.training.train_config import TrainConfig
from trainer.util.errors import TrainerError

from .. import programs

SMALL: dict[str, Value] = {"n_estimators": 12, "num_leaves": 8}


@pytest.fixture
def variant() -> Variant:
    return make_variant(SMALL)


@pytest.fixture(scope="module")
def trained(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, TrainResult]:
    """Return a store, and the result of a run in it."""
    file = tmp_path_factory.mktemp("trained") / "mlflow.db"
    shutil.copy(request.getfixturevalue("_template"), file)
    plan = Plan(connect(f"sqlite:///{file}", "unit"), TrainConfig(seed=5), tags={"colour": "green"})
    return file, train_run(make_variant(SMALL), dataset, plan)


@pytest.fixture
def workdir(workdir: Path, request: pytest.FixtureRequest) -> Path:
    """Return the empty folder; a test that takes the result has it in its store."""
    if "result" in request.fixturenames:
        shutil.copy(request.getfixturevalue("trained")[0], workdir)
    return workdir


@pytest.fixture
def result(trained: tuple[Path, TrainResult], workdir: Path) -> TrainResult:
    return trained[1]


@pytest.fixture
def client(plan: Plan) -> Any:
    mlflow.set_tracking_uri(plan.destination.uri)
    return MlflowClient(plan.destination.uri)


def test_run_is_finished_and_readable(
    result: TrainResult, client: Any, variant: Variant, dataset: Dataset, plan: Plan
) -> None:
    tracked = client.get_run(str(result.run_id))
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == "n_estimators=12 num_leaves=8"
    assert tracked.data.tags["colour"] == "green"
    fitted = fit_variant(variant.params, dataset, seed=plan.config.seed, validation_size=plan.config.validation_size)
    for name, value in fitted.test.items():
        assert tracked.data.metrics[name] == value
    assert tracked.data.metrics["threshold"] == fitted.threshold
    assert tracked.data.metrics["validation_average_precision"] == fitted.validation["average_precision"]
    assert result.metrics == pytest.approx(
        {**tracked.data.metrics, "validation_log_loss": fitted.validation["log_loss"]}
    )


def test_history_is_read_back(result: TrainResult, client: Any, variant: Variant, dataset: Dataset, plan: Plan) -> None:
    """History is read back iteration by iteration."""
    history = client.get_metric_history(str(result.run_id), "validation_log_loss")
    assert [point.step for point in history] == list(range(1, 13))
    fitted = fit_variant(variant.params, dataset, seed=plan.config.seed, validation_size=plan.config.validation_size)
    assert [point.value for point in history] == fitted.loss


@pytest.mark.parametrize("folds", [0, 3])
def test_loss_is_of_the_kept_iterations(client: Any, dataset: Dataset, plan: Plan, folds: int) -> None:
    """Loss of a run that stopped early is that of the iterations it keeps."""
    early = make_variant({"n_estimators": 200, "learning_rate": 0.5, "early_stopping_round": 8})
    trained = train_run(early, dataset, replace(plan, config=replace(plan.config, folds=folds)))
    shown = client.get_run(str(trained.run_id)).data.metrics["validation_log_loss"]
    assert shown == trained.metrics["validation_log_loss"]
    points = client.get_metric_history(str(trained.run_id), "validation_log_loss")
    assert max(point.step for point in points) < 200
    assert shown < max(points, key=lambda point: (point.step, -point.timestamp)).value


def test_all_parameters_are_logged(result: TrainResult, client: Any, dataset: Dataset) -> None:
    logged = client.get_run(str(result.run_id)).data.params
    with_default = {one.name for one in parameter_table.PARAMETERS if one.default is not None}
    assert set(logged) >= with_default | set(parameter_table.FIXED)
    expected = {
        "n_estimators": "12",
        "num_leaves": "8",
        "max_depth": "12",
        "learning_rate": "0.1",
        "random_state": "5",
        "seed": "5",
        "validation_size": "0.2",
        "test_size": "0.2",
        "target": "purchase",
        "data": "generated-sessions",
        "data_digest": dataset.digest,
        "rows_test": str(dataset.test.rows),
        "n_jobs": "1",
    }
    assert {name: logged[name] for name in expected} == expected
    assert int(logged["rows_fit"]) + int(logged["rows_validation"]) == dataset.train.rows


def test_data_sets_are_inputs_of_the_run(result: TrainResult, client: Any, dataset: Dataset) -> None:
    inputs = client.get_run(str(result.run_id)).inputs.dataset_inputs
    found = {entry.tags[0].value: entry.dataset for entry in inputs}
    assert set(found) == {"training", "testing"}
    assert found["training"].digest == dataset.digest
    assert found["testing"].digest == dataset.test_digest
    assert json.loads(found["training"].profile)["num_rows"] == dataset.train.rows
    assert json.loads(found["testing"].profile)["num_rows"] == dataset.test.rows
    assert mlflow.data.get_source(found["training"]) is not None


def test_artifacts_are_plots_and_parameters(result: TrainResult, client: Any) -> None:
    """Artifacts are the pictures and the effective parameters."""
    run_id = str(result.run_id)
    names = ("calibration", "confusion_matrix", "feature_importance", "learning_curve", "pr_curve", "roc_curve")
    for name in names:
        picture = Image.open(client.download_artifacts(run_id, f"plots/{name}.png"))
        picture.load()
        assert picture.size[0] == 960
        table = pd.read_csv(client.download_artifacts(run_id, f"plots/{name}.csv"))
        assert len(table) > 0
    effective = json.loads(Path(client.download_artifacts(run_id, "lightgbm_parameters.json")).read_text())
    assert effective["num_leaves"] == "8"


def test_contributions_come_when_asked_for(result: TrainResult, client: Any, dataset: Dataset, plan: Plan) -> None:
    """Contributions are a table and a plot of the rows asked for, and change neither the result nor its cache key."""
    explained = train_run(make_variant(SMALL), dataset, replace(plan, explain=100))
    table = pd.read_csv(client.download_artifacts(explained.run_id, "contributions.csv"))
    assert len(table) == 100 < dataset.test.rows
    picture = Image.open(client.download_artifacts(explained.run_id, "plots/contributions.png"))
    assert picture.size == (960, 720)
    one, other = (client.get_run(str(run.run_id)).data for run in (result, explained))
    assert one.metrics == other.metrics
    assert one.tags[cache_key.TAG] == other.tags[cache_key.TAG]
    listed = [file.path for place in ("", "plots") for file in client.list_artifacts(str(result.run_id), place)]
    assert not any("contributions" in path for path in listed)


def test_model_loads_both_ways_and_predicts_alike(
    result: TrainResult, client: Any, dataset: Dataset, tmp_path: Path
) -> None:
    sk, pyfunc = mlflow.sklearn.load_model(result.model_uri), mlflow.pyfunc.load_model(result.model_uri)
    expected = fit_variant(make_variant(SMALL).params, dataset, seed=5, validation_size=0.2).probability
    np.testing.assert_array_equal(sk.predict_proba(dataset.test.features)[:, 1], expected)
    np.testing.assert_array_equal(sk.predict(dataset.test.features), pyfunc.predict(dataset.test.features))
    # A table that another program reads from a file: integers, booleans, gaps, other rows.
    raw = generate_sessions(200, seed=77)
    raw.to_csv(tmp_path / "raw.csv", index=False)
    read = pd.read_csv(tmp_path / "raw.csv").drop(columns="purchase")
    assert read["product_pages"].dtype == np.int64
    np.testing.assert_array_equal(pyfunc.predict(read), sk.predict(read))
    assert 0 < pyfunc.predict(read).sum() < 200


def test_model_accepts_gaps_and_unseen_categories(result: TrainResult, client: Any) -> None:
    sk, pyfunc = mlflow.sklearn.load_model(result.model_uri), mlflow.pyfunc.load_model(result.model_uri)
    rows = generate_sessions(30, seed=78).drop(columns="purchase")
    rows = rows.astype({"product_pages": "float64", "weekend": object})
    rows.loc[0, ["month", "device"]] = None
    rows.loc[1, "month"] = "Smarch"
    rows.loc[2, ["product_pages", "page_value"]] = np.nan
    rows.loc[3, "weekend"] = None
    np.testing.assert_array_equal(pyfunc.predict(rows), sk.predict(rows))
    # A column of numbers that happen to be whole, as a short CSV file gives it.
    whole = rows.assign(page_value=7)
    np.testing.assert_array_equal(pyfunc.predict(whole), sk.predict(whole))


def test_model_without_a_column_says_which(result: TrainResult, client: Any) -> None:
    rows = generate_sessions(3, seed=1).drop(columns=["purchase", "month"])
    with pytest.raises(mlflow.exceptions.MlflowException, match="month"):
        mlflow.pyfunc.load_model(result.model_uri).predict(rows)


def test_model_carries_signature_and_pins(result: TrainResult, client: Any, dataset: Dataset) -> None:
    """Model carries signature example and pinned requirements."""
    folder = Path(mlflow.artifacts.download_artifacts(result.model_uri))
    pinned = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert {"mlflow", "lightgbm", "scikit-learn", "skops", "pandas", "numpy"} <= set(pinned)
    assert all(importlib.metadata.version(name) == version for name, version in pinned.items())
    info: Any = mlflow.models.get_model_info(str(result.model_uri))
    assert info.signature.inputs.input_names() == list(dataset.column_types)
    assert info.metadata["columns"] == dataset.column_types
    model = mlflow.pyfunc.load_model(result.model_uri)
    pd.testing.assert_frame_equal(model.input_example, dataset.train.features.head(5), check_dtype=False)
    assert len(model.predict(model.input_example)) == 5
    assert (folder / "serving_input_example.json").exists()


def test_model_loads_without_this_package(result: TrainResult, client: Any, workdir: Path) -> None:
    folder = mlflow.artifacts.download_artifacts(result.model_uri)
    code = (
        "import sys; sys.modules['trainer'] = None\n"
        f"import mlflow; model = mlflow.pyfunc.load_model({folder!r}); print(list(model.predict(model.input_example)))"
    )
    done = programs.run(["-c", code], check=True)
    model = mlflow.pyfunc.load_model(result.model_uri)
    assert done.stdout.strip() == str(list(model.predict(model.input_example)))


def test_model_is_ready_and_carries_the_metrics(result: TrainResult, client: Any, plan: Plan) -> None:
    (model,) = client.search_logged_models([plan.destination.experiment_id])
    assert str(model.status) == "READY"
    assert model.source_run_id == result.run_id
    assert {metric.key: metric.value for metric in model.metrics}["f1"] == result.metrics["f1"]
    assert client.get_run(str(result.run_id)).outputs.model_outputs[0].model_id == model.model_id


def test_failure_marks_the_run_failed(
    variant: Variant, dataset: Dataset, plan: Plan, client: Any, workdir: Path
) -> None:
    """Failure half way marks the run failed with its reason."""
    # A file where the artifacts' folder should be.
    (workdir / "mlartifacts").write_text("")
    with pytest.raises(TrainerError):
        train_run(variant, dataset, plan)
    (failed,) = client.search_runs([plan.destination.experiment_id])
    assert failed.info.status == "FAILED"
    assert "mlartifacts" in failed.data.tags["failure_reason"]


def test_failed_fit_marks_the_run_failed(dataset: Dataset, plan: Plan, client: Any) -> None:
    broken = Variant("broken", {**complete_params(), "max_bin": -7})
    with pytest.raises(TrainerError, match="LightGBM refuses"):
        train_run(broken, dataset, plan)
    (failed,) = client.search_runs([plan.destination.experiment_id])
    assert failed.info.status == "FAILED"
    assert failed.data.tags["failure_reason"].startswith("LightGBM refuses")


def test_failed_model_upload_leaves_no_model_pending(
    variant: Variant, dataset: Dataset, plan: Plan, client: Any, workdir: Path
) -> None:
    if os.getuid() == 0:
        location = workdir / "mlartifacts" / "unit"
        location.mkdir(parents=True)
        (location / "models").write_text("")
    with pytest.raises(TrainerError):
        train_run(variant, dataset, plan)
    (failed,) = client.search_runs([plan.destination.experiment_id])
    (model,) = client.search_logged_models([plan.destination.experiment_id])
    assert failed.info.status == "FAILED"
    assert str(model.status) == "FAILED"


def test_long_name_is_cut(dataset: Dataset, plan: Plan, client: Any) -> None:
    result = train_run(make_variant(SMALL, name="long\n" * 100), dataset, plan)
    name = client.get_run(str(result.run_id)).info.run_name
    assert name.startswith("long long")
    assert len(name) == 250


def test_same_variant_twice_has_the_same_metrics(
    result: TrainResult, variant: Variant, dataset: Dataset, plan: Plan
) -> None:
    again = train_run(variant, dataset, plan)
    assert again.run_id != result.run_id
    assert again.metrics == result.metrics


def test_schema_that_mlflow_would_refuse_is_left_out(dataset: Dataset) -> None:
    wide = replace(dataset, column_types={f"a column of many, number {place:,}": "number" for place in range(15_000)})
    training, _ = dataset_inputs(described_inputs(wide))
    assert training.dataset.schema is None
    assert dataset_inputs(described_inputs(dataset))[0].dataset.schema is not None


def test_other_data_is_another_input(
    result: TrainResult, variant: Variant, dataset: Dataset, plan: Plan, client: Any
) -> None:
    other = replace(dataset, digest="0" * 32)
    again = train_run(variant, other, plan)
    digests = {
        client.get_run(str(run_id)).inputs.dataset_inputs[0].dataset.digest for run_id in (result.run_id, again.run_id)
    }
    assert len(digests) == 2
