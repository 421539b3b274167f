"""The champion is served: its own answers, wherever the alias moves, and whatever happens to the tracking server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient

from .stack import Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

MODEL = "models:/served@champion"


@pytest.fixture
def example(client: MlflowClient, baseline: dict[str, Any]) -> pd.DataFrame:
    """Sessions that the baseline's model carries as its example."""
    example = mlflow.pyfunc.load_model(baseline["model_uri"]).input_example
    assert isinstance(example, pd.DataFrame)
    return example


def ask(stack: Stack, rows: pd.DataFrame) -> requests.Response:
    """Returns the answer to these sessions."""
    body = {"dataframe_records": json.loads(rows.to_json(orient="records"))}
    return requests.post(f"http://127.0.0.1:{stack.port('serving', 5001)}/invocations", json=body, timeout=30)


def test_answers_are_the_models_own(
    stack: Stack, serving: Container, example: pd.DataFrame, baseline: dict[str, Any]
) -> None:
    answer = ask(stack, example)
    expected = mlflow.pyfunc.load_model(baseline["model_uri"]).predict(example)
    assert answer.json() == {"predictions": expected.tolist()}


def test_wrong_column_is_named_and_the_server_goes_on(stack: Stack, serving: Container, example: pd.DataFrame) -> None:
    answer = ask(stack, example.drop(columns="month"))
    assert (answer.status_code, answer.json()["message"]) == (400, "Model is missing inputs ['month'].")
    assert ask(stack, example).status_code == 200


def test_promotion_is_followed_without_a_restart(
    stack: Stack, serving: Container, example: pd.DataFrame, client: MlflowClient, sweep: dict[str, Any]
) -> None:
    """Promotion is followed within a minute without a restart."""
    started = serving.attrs["State"]["StartedAt"]
    best = sweep["variants"][0]
    version = mlflow.register_model(best["model_uri"], "served").version
    client.set_registered_model_alias("served", "champion", version)

    def served() -> bool:
        answer = ask(stack, example)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-model-uri"] == f"models:/served/{version}"

    wait_until(served, "the new champion is served", 60)
    assert stack.container("serving").attrs["State"]["StartedAt"] == started
    expected = mlflow.pyfunc.load_model(best["model_uri"]).predict(example)
    assert ask(stack, example).json() == {"predictions": expected.tolist()}


def test_champion_that_may_run_code_is_refused(
    stack: Stack, serving: Container, example: pd.DataFrame, client: MlflowClient, baseline: dict[str, Any]
) -> None:
    before = client.get_model_version_by_alias("served", "champion").version
    with mlflow.start_run(run_name="pickled"):
        pickled = mlflow.sklearn.log_model(
            mlflow.sklearn.load_model(baseline["model_uri"]),
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["mlflow"],
        )
    version = mlflow.register_model(pickled.model_uri, "served").version
    client.set_registered_model_alias("served", "champion", version)
    try:
        refusal = f"models:/served/{version} is refused, because its format can run code: it is saved as cloudpickle"
        wait_until(lambda: refusal in stack.logs("serving"), "it is refused")
        assert ask(stack, example).headers["x-model-uri"] == f"models:/served/{before}"
    finally:
        client.set_registered_model_alias("served", "champion", before)


def test_champion_is_served_without_the_server(crash_stack: Stack) -> None:
    """Champion is served while the tracking server is down."""
    result = crash_stack.train("--n-estimators", "5")
    client = MlflowClient(crash_stack.url, crash_stack.url)
    outputs = client.get_run(result["run_id"]).outputs
    assert outputs is not None
    model = client.get_logged_model(outputs.model_outputs[0].model_id)
    client.create_registered_model("served")
    for _ in range(2):
        client.create_model_version("served", model.artifact_location, result["run_id"], model_id=model.model_id)
    client.set_registered_model_alias("served", "champion", "1")
    crash_stack.up("serving", settings={"SERVING_MODEL": MODEL, "SERVING_INTERVAL": "1"})
    address = f"http://127.0.0.1:{crash_stack.port('serving', 5001)}/ping"
    crash_stack.compose("stop", "mlflow")
    try:
        wait_until(lambda: "the registry does not answer" in crash_stack.logs("serving"), "it notices", 90)
        assert requests.get(address, timeout=10).headers["x-model-uri"] == "models:/served/1"
    finally:
        crash_stack.compose("start", "mlflow")
        crash_stack.wait_healthy("mlflow")
    client = MlflowClient(crash_stack.url, crash_stack.url)
    client.set_registered_model_alias("served", "champion", "2")
    wait_until(
        lambda: requests.get(address, timeout=10).headers["x-model-uri"] == "models:/served/2", "it follows again", 90
    )
    crash_stack.compose("rm", "--stop", "--force", "serving", "serving-edge")
