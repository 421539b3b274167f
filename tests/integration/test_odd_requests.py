"""What no client should send is refused at once, in a class that says whose fault it is, and leaves a line."""

from __future__ import annotations

import http.client
import secrets
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from . import odd_requests
from .stack import BUCKET, PREFIX, STORAGE, Stack

COUNT = 1000
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
# Seconds within which a refusal comes: nothing is waited for.
AT_ONCE = 10.0


def answer_to(method: str, url: str, **content: Any) -> requests.Response:
    """Returns the answer to a request; fails when it does not come at once."""
    return requests.request(method, url, timeout=AT_ONCE, **content)


@pytest.fixture(scope="module")
def known(stack: Stack, client: MlflowClient) -> dict[str, Any]:
    """One of each thing that MLflow keeps, by the names of the fields that hold it."""
    return make(stack, client)


def make(stack: Stack, client: MlflowClient) -> dict[str, Any]:
    """Makes one of each thing that MLflow keeps, and returns them by the names of the fields that hold them."""
    name = f"odd-{secrets.token_hex(4)}"
    experiment = client.create_experiment(name)
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "loss", 1.0)
    client.log_text(run, "text", "folder/a.txt")
    model = client.create_logged_model(experiment, name="model", source_run_id=run)
    source = f"models:/{model.model_id}"
    client.create_registered_model(name)
    version = client._create_model_version(name, source, model_id=model.model_id, await_creation_for=0)
    trace = f"tr-{secrets.token_hex(16)}"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": place, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    answer_to("POST", f"{stack.url}/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}}).raise_for_status()
    dataset = {"name": name, "experiment_ids": [experiment]}
    made = answer_to("POST", f"{stack.url}/api/3.0/mlflow/datasets/create", json=dataset)
    return {
        "alias": "champion",
        "artifact_path": f"{experiment}/{run}/artifacts/folder/a.txt",
        "dataset_id": made.json()["dataset"]["dataset_id"],
        "experiment_id": experiment,
        "experiment_ids": [experiment],
        "features": [],
        "key": "key",
        "metric_key": "loss",
        "model_id": model.model_id,
        "name": name,
        "path": "folder/a.txt",
        "request_id": trace,
        "run_id": run,
        "run_ids": [run],
        "run_uuid": run,
        "source": source,
        "trace_id": trace,
        "trace_ids": [trace],
        "value": "value",
        "version": str(version.version),
    }


def ask_all(url: str, asked: list[odd_requests.Odd]) -> list[tuple[int, bytes, float]]:
    """Returns each request's status, body and seconds, in their order; four connections share the work."""
    answers: list[tuple[int, bytes, float]] = [(0, b"", 0.0)] * len(asked)
    numbers = iter(range(len(asked)))
    lock = threading.Lock()
    address = urlsplit(url)

    def work() -> None:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began = time.monotonic()
            status, body = ask(connection, asked[number])
            answers[number] = status, body, time.monotonic() - began

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def ask(connection: http.client.HTTPConnection, odd: odd_requests.Odd) -> tuple[int, bytes]:
    """Sends a request as it is, once more on a new connection where the server has closed this one."""
    for attempt in range(2):
        try:
            connection.putrequest(odd.method, odd.target, skip_accept_encoding=True)
            for name, value in odd.headers.items():
                connection.putheader(name, value.encode("latin-1"))
            if odd.body is not None:
                connection.putheader("Content-Length", str(len(odd.body)))
            connection.endheaders(odd.body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, ConnectionError):
            connection.close()
            if attempt:
                raise
    raise AssertionError


def test_thousand_odd_requests_to_all_routes(stack: Stack, client: MlflowClient, record_property: Any) -> None:
    """No answer is the server's fault or shows SQL, none leaves a traceback or a second line, and it stays healthy."""
    # Things of its own: some requests change them, or delete them.
    asked = list(odd_requests.requests(make(stack, client), COUNT))
    before = len(stack.logs("mlflow").splitlines())
    answers = ask_all(stack.url, asked)
    wrong = [
        (status, odd.method, odd.target[:200], odd.body and odd.body[:200], body[:300])
        for odd, (status, body, _) in zip(asked, answers, strict=True)
        if not 100 <= status < 500 or b"[SQL" in body or b"psycopg2" in body or b"Traceback" in body
    ]
    assert wrong == []
    logged = stack.logs("mlflow").splitlines()[before:]
    assert [line for line in logged if "Traceback" in line or "SELECT " in line] == []
    assert len(logged) <= len(asked)
    assert answer_to("GET", f"{stack.url}/health").text == "OK"
    assert stack.health("mlflow") == "healthy"
    record_property("answers", dict(Counter(status for status, _, _ in answers)))


# Addresses ------------------------------------------------------------------------------------------------------------

FOREIGN = [
    "file:///etc",
    "./x",
    "gs://elsewhere/x",
    "s3://elsewhere/x",
    "mlflow-artifacts://elsewhere/x",
    "mlflow-artifacts:/a/../../x",
    f"{'s3' if STORAGE == 'minio' else 'gs'}://{BUCKET}/{PREFIX}x",
]


@pytest.mark.parametrize("uri", FOREIGN)
def test_experiment_elsewhere_is_refused(client: MlflowClient, uri: str) -> None:
    began = time.monotonic()
    with pytest.raises(MlflowException, match=r"INVALID_PARAMETER_VALUE: .* is not in this server's storage"):
        client.create_experiment(f"elsewhere-{secrets.token_hex(4)}", artifact_location=uri)
    assert time.monotonic() - began < AT_ONCE


@pytest.mark.parametrize("source", ["file:///etc", "/etc", "s3://elsewhere/x", "gs://elsewhere/x", "ftp://elsewhere/x"])
def test_model_from_elsewhere_is_refused(client: MlflowClient, known: dict[str, Any], source: str) -> None:
    with pytest.raises(MlflowException, match="INVALID_PARAMETER_VALUE"):
        client.create_model_version(known["name"], source, run_id=known["run_id"])


def test_model_versions_that_clients_make(stack: Stack, client: MlflowClient, known: dict[str, Any]) -> None:
    """A run's folder by each of its addresses, a logged model, another version: registered, and shown by the server."""
    run = known["run_id"]
    place = f"{client.get_run(run).info.artifact_uri}/folder"
    for source in (place, f"runs:/{run}/folder"):
        made = client.create_model_version(known["name"], source, run_id=run)
        answer = answer_to(
            "GET",
            f"{stack.url}/model-versions/get-artifact",
            params={"name": made.name, "version": made.version, "path": "a.txt"},
        )
        assert (answer.status_code, answer.text) == (200, "text")
    model = client.get_logged_model(known["model_id"])
    for source in (f"models:/{model.model_id}", model.artifact_location):
        client._create_model_version(known["name"], source, model_id=model.model_id, await_creation_for=0)
    copied = client.copy_model_version(f"models:/{known['name']}/{made.version}", f"{known['name']}-copy")
    assert copied.source == f"models:/{known['name']}/{made.version}"
    prompt = client.register_prompt(f"{known['name']}-prompt", "Hello {{name}}")
    assert prompt.version == 1


def test_address_already_in_the_database(stack: Stack, client: MlflowClient, known: dict[str, Any]) -> None:
    """Everyone who looks gets an answer at once that says what is wrong, and the runs can still be tracked."""
    experiment = client.create_experiment(f"old-{secrets.token_hex(4)}")
    for uri in ("gs://elsewhere/x", "s3://elsewhere/x", "file:///etc", "http://elsewhere/x", "mlflow-artifacts:/../x"):
        run = client.create_run(experiment).info.run_id
        stack.sql("UPDATE runs SET artifact_uri = %s WHERE run_uuid = %s", uri, run)
        client.log_metric(run, "loss", 1.0)
        upload = f"{stack.url}/ajax-api/2.0/mlflow/upload-artifact"
        for answer in (
            answer_to("GET", f"{stack.url}/api/2.0/mlflow/artifacts/list", params={"run_id": run}),
            answer_to("GET", f"{stack.url}/get-artifact", params={"run_id": run, "path": "passwd"}),
            answer_to("POST", upload, data=b"x", params={"run_uuid": run, "path": "a.txt"}),
        ):
            assert answer.status_code == 400
            assert "is not in this server's storage" in answer.json()["message"]


def test_trace_cannot_say_where_its_files_are(stack: Stack, known: dict[str, Any]) -> None:
    tag = {"key": "mlflow.artifactLocation", "value": "gs://elsewhere/x"}
    for version in ("2.0", "3.0"):
        path = f"{stack.url}/api/{version}/mlflow/traces/{known['trace_id']}/tags"
        assert answer_to("PATCH", path, json=tag).status_code == 400


# Artifacts ------------------------------------------------------------------------------------------------------------

NAMES = ["x" * 256, "ä" * 128, "/".join(["x" * 200] * 6), "a//b", "a/./b", "a/%2e%2e/b", "a%00b", "%ff", "a/", ""]


@pytest.mark.parametrize("name", NAMES)
def test_name_that_no_artifact_can_have(stack: Stack, known: dict[str, Any], name: str) -> None:
    """It is a 400 at each route: with MinIO a name with an empty part would replace the object without it."""
    folder = f"{known['experiment_id']}/{known['run_id']}/artifacts"
    name = name.replace("ä", "%C3%A4")
    ids = f"run_id={known['run_id']}&run_uuid={known['run_id']}"
    asked = [
        odd_requests.Odd(method, f"/{prefix}/2.0/mlflow-artifacts/{route}/{folder}/{name}", {}, b"{}")
        for prefix in ("api", "ajax-api")
        for method, route in (("PUT", "artifacts"), ("GET", "artifacts"), ("HEAD", "artifacts"), ("POST", "mpu/create"))
    ]
    asked.append(odd_requests.Odd("GET", f"/get-artifact?{ids}&path={name}", {}, None))
    asked.append(odd_requests.Odd("POST", f"/ajax-api/2.0/mlflow/upload-artifact?{ids}&path={name}", {}, b"text"))
    before = stack.object_names()
    statuses = [status for status, _, _ in ask_all(stack.url, asked)]
    assert [(odd.target[:60], status) for odd, status in zip(asked, statuses, strict=True) if status != 400] == []
    assert stack.object_names() == before


def test_deletions_are_refused_at_once(stack: Stack, client: MlflowClient, known: dict[str, Any]) -> None:
    """The answer names `gc`; what MLflow only marks as deleted still is, and the files stay."""
    run = client.create_run(known["experiment_id"]).info.run_id
    client.log_text(run, "text", "folder/a.txt")
    repository: Any = get_artifact_repository(client.get_run(run).info.artifact_uri, tracking_uri=stack.url)
    began = time.monotonic()
    for what in ("folder/a.txt", "folder", "not-there", None):
        with pytest.raises(Exception, match=r"403 .*docker compose run --rm gc"):
            repository.delete_artifacts(what)
    assert time.monotonic() - began < 4 * AT_ONCE
    model = client.create_logged_model(known["experiment_id"], name="deleted", source_run_id=run)
    client.delete_logged_model(model.model_id)
    client.delete_run(run)
    assert f"{known['experiment_id']}/{run}/artifacts/folder/a.txt" in stack.object_names()


def test_the_uis_upload_answers_as_a_put(stack: Stack, client: MlflowClient) -> None:
    """Also in an experiment with an address of its own: the file is where the run's others are."""
    root = f"own-{secrets.token_hex(4)}"
    experiment = client.create_experiment(root, artifact_location=f"mlflow-artifacts:/{root}")
    run = client.create_run(experiment).info.run_id
    upload = f"{stack.url}/ajax-api/2.0/mlflow/upload-artifact"
    for name in ("a.txt", "folder/ä b.txt", "folder/" + "x" * 255):
        answer = answer_to("POST", upload, data=b"text", params={"run_uuid": run, "path": name})
        assert (answer.status_code, answer.text) == (200, "")
        assert stack.object_content(f"{root}/{run}/artifacts/{name}") == b"text"
    assert {entry.path for entry in client.list_artifacts(run)} == {"a.txt", "folder"}
    assert {entry.path for entry in client.list_artifacts(run, "folder/")} == {"folder/ä b.txt", "folder/" + "x" * 255}


def test_folder_is_no_file(stack: Stack, known: dict[str, Any]) -> None:
    answer = answer_to("GET", f"{stack.url}/get-artifact", params={"run_id": known["run_id"], "path": "folder"})
    assert (answer.status_code, "refers to a directory" in answer.text) == (400, True)


# Values ---------------------------------------------------------------------------------------------------------------


def test_nul_is_a_400_at_once(stack: Stack, client: MlflowClient, known: dict[str, Any]) -> None:
    run, began = known["run_id"], time.monotonic()
    for attempt in (
        lambda: client.log_param(run, "nul", "a\0b"),
        lambda: client.set_tag(run, "nul", "a\0b"),
        lambda: client.set_tag(run, "n\0l", "a"),
        lambda: client.register_prompt(f"{known['name']}-nul", "a\0b"),
        lambda: client.create_experiment("a\0b"),
        lambda: client.search_runs([known["experiment_id"]], "tags.a = 'a\0b'"),
    ):
        with pytest.raises(MlflowException, match=r"INVALID_PARAMETER_VALUE|BAD_REQUEST"):
            attempt()
    assert time.monotonic() - began < 6 * AT_ONCE
    assert answer_to("GET", f"{stack.url}/api/2.0/mlflow/runs/get?run_id=a%00b").status_code == 400


def test_name_that_is_taken_is_told_without_sql(client: MlflowClient, known: dict[str, Any]) -> None:
    with pytest.raises(MlflowException, match="RESOURCE_ALREADY_EXISTS") as taken:
        client.create_experiment(known["name"])
    assert "INSERT" not in str(taken.value)
    assert "psycopg2" not in str(taken.value)


# Routes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/2.0/mlflow/webhooks"),
        ("GET", "ajax-api/3.0/mlflow/gateway/endpoints/list"),
        ("POST", "gateway/mlflow/v1/chat/completions"),
        ("POST", "ajax-api/3.0/mlflow/scorer/invoke"),
        ("PUT", "ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "ajax-api/3.0/jobs/search"),
        ("GET", "api/3.0/mlflow/mcp-servers"),
        ("GET", "api/3.0/mlflow/workspaces"),
    ],
)
def test_route_that_tracking_does_not_need_is_off(stack: Stack, method: str, path: str) -> None:
    answer = answer_to(method, f"{stack.url}/{path}", json={})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")


def test_setting_that_cannot_be_stops_the_start(stack: Stack) -> None:
    """The start is refused before the server looks for its database."""
    for settings, line in (
        ({"MLFLOW_EXTRA_ROUTES": "webhook"}, "error: MLFLOW_EXTRA_ROUTES: there is no group webhook; there are "),
        ({"MLFLOW_ENABLE_WORKSPACES": "true"}, "error: MLFLOW_ENABLE_WORKSPACES is set, "),
        ({"MLFLOW_PUBLIC_HOSTS": "10.*"}, 'error: MLFLOW_PUBLIC_HOSTS: "10.*" matches names of others: '),
    ):
        done = stack.compose("run", "--rm", "--no-deps", "-T", "mlflow", check=False, settings=settings)
        assert done.returncode == 1
        assert [one.startswith(line) for one in done.stderr.splitlines() if one.startswith("error")] == [True]


def test_features_of_mlflow_3_work(stack: Stack, client: MlflowClient, known: dict[str, Any]) -> None:
    """Traces with their spans, an assessment, a data set's records, an evaluation."""
    mlflow.set_experiment(experiment_id=known["experiment_id"])
    with mlflow.start_span("span") as span:
        span.set_inputs({"a": 1})
    mlflow.flush_trace_async_logging()
    trace = mlflow.get_trace(span.trace_id)
    assert trace is not None
    assert [one.name for one in trace.data.spans] == ["span"]
    mlflow.log_feedback(trace_id=span.trace_id, name="good", value=True)
    dataset = mlflow.genai.datasets.create_dataset(name=f"{known['name']}-rows", experiment_id=[known["experiment_id"]])
    dataset.merge_records([{"inputs": {"question": "a"}, "expectations": {"answer": "b"}}])
    assert len(mlflow.genai.datasets.get_dataset(dataset_id=dataset.dataset_id).to_df()) == 1

    @mlflow.genai.scorer
    def same(outputs: str, expectations: dict[str, str]) -> bool:
        return outputs == expectations["answer"]

    rows = [{"inputs": {"question": "a"}, "outputs": "b", "expectations": {"answer": "b"}}]
    assert mlflow.genai.evaluate(data=rows, scorers=[same]).metrics["same/mean"] == 1.0
    assert client.search_traces([known["experiment_id"]])


def test_zero_address_is_a_name_of_the_server(stack: Stack) -> None:
    path = f"{stack.url}/api/2.0/mlflow/experiments/search?max_results=1"
    assert answer_to("GET", path, headers={"Host": "0.0.0.0:5000"}).status_code == 200
    assert answer_to("GET", path, headers={"Host": "10.evil.example"}).status_code == 403


def test_client_in_a_workspace_is_told_at_once(stack: Stack, known: dict[str, Any]) -> None:
    path = f"{stack.url}/api/2.0/mlflow/runs/get?run_id={known['run_id']}"
    answer = answer_to("GET", path, headers={"X-MLFLOW-WORKSPACE": "team"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "FEATURE_DISABLED")
