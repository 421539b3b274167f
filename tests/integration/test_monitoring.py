"""What runs tells about itself: inside of the networks, and at no published port."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
from mlflow import MlflowClient
from prometheus_client.parser import text_string_to_metric_families

from .stack import Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=30).read().decode())"
PORT = 9464


def metrics(stack: Stack, service: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Returns a service's metrics by name and labels, as someone inside of its networks reads them."""
    address = f"http://{service}:{PORT}/metrics"
    text = stack.exec(service, "python3", "-c", FETCH, address)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, frozenset(one.labels.items())): one.value for one in samples}


def value(stack: Stack, service: str, name: str, **labels: str) -> float:
    return metrics(stack, service).get((name, frozenset(labels.items())), 0)


def test_requests_are_counted_by_route_and_status(stack: Stack, client: MlflowClient) -> None:
    create = {"method": "POST", "route": "/api/2.0/mlflow/runs/create", "status": "200"}
    missing = {"method": "GET", "route": "/api/2.0/mlflow/runs/get", "status": "404"}
    artifact = {"method": "PUT", "route": "/api/2.0/mlflow-artifacts/artifacts/{artifact_path}", "status": "200"}
    name = "mlflow_http_requests_total"
    before = [value(stack, "mlflow", name, **labels) for labels in (create, missing, artifact)]
    run = client.create_run("0").info.run_id
    client.log_text(run, "x", "some folder/x.txt")
    address = f"{stack.url}/api/2.0/mlflow/runs/get"
    assert requests.get(address, params={"run_id": "0" * 32}, timeout=30).status_code == 404

    def more() -> list[float]:
        now = [value(stack, "mlflow", name, **labels) for labels in (create, missing, artifact)]
        return [one - other for one, other in zip(now, before, strict=True)]

    wait_until(lambda: more() == [1, 1, 1], f"they are counted: {more()}")
    seen = metrics(stack, "mlflow")
    assert seen["mlflow_http_request_seconds_count", frozenset({("route", create["route"])})] >= 1
    assert seen["mlflow_database_connections_limit", frozenset()] == 49
    assert seen["mlflow_database_connections", frozenset({("state", "idle")})] >= 1
    assert 0 < seen["mlflow_disk_free_bytes", frozenset()] < seen["mlflow_disk_bytes", frozenset()]
    assert run not in {text for _, labels in seen for _, text in labels}


@pytest.fixture
def rows(client: MlflowClient, baseline: dict[str, Any]) -> list[dict[str, Any]]:
    """Sessions that the baseline's model carries as its example, and one of a month that there is not."""
    import mlflow

    example = mlflow.pyfunc.load_model(baseline["model_uri"]).input_example
    found: list[dict[str, Any]] = json.loads(example.to_json(orient="records"))
    return [*found, {**found[0], "month": "Brumaire"}]


def test_rows_scores_and_unknown_texts_are_counted(
    stack: Stack, serving: Container, rows: list[dict[str, Any]]
) -> None:
    # Other tests ask the same server too: what this one sends is counted on top of that.
    before = metrics(stack, "serving")
    address = f"http://127.0.0.1:{stack.port('serving', 5001)}/invocations"
    answer = requests.post(address, json={"dataframe_records": rows}, timeout=30)
    assert answer.status_code == 200, answer.text
    model = ("model", answer.headers["x-model-uri"])
    assert requests.post(address, json={"dataframe_records": [{}]}, timeout=30).status_code == 400
    sent = {
        ("trainer_serving_rows_total", frozenset({model})): len(rows),
        ("trainer_serving_scores_count", frozenset({model})): len(rows),
        ("trainer_serving_unseen_texts_total", frozenset({model, ("column", "month")})): 1,
        ("trainer_serving_requests_total", frozenset({("path", "/invocations"), ("status", "400")})): 1,
    }

    def all_is_counted() -> bool:
        now = metrics(stack, "serving")
        return all(now.get(key, 0) - before.get(key, 0) >= number for key, number in sent.items())

    wait_until(all_is_counted, "the rows, their scores, the unknown text and the refusal are counted")
    assert metrics(stack, "serving")["trainer_serving_processes", frozenset({model})] == 1


def test_metrics_are_not_on_a_published_port(stack: Stack, serving: Container, proxy: Container) -> None:
    """Neither edge nor proxy passes them on, and no other port is published."""
    assert "mlflow_http_requests_total" in {name for name, _ in metrics(stack, "mlflow")}
    published = [stack.url, f"http://127.0.0.1:{stack.port('serving', 5001)}"]
    for address in published:
        answer = requests.get(f"{address}/metrics", timeout=30)
        assert answer.status_code == 404
        assert "_total" not in answer.text
    bindings = [container.ports for container in stack.containers() if container.status == "running"]
    assert [ports for ports in bindings if f"{PORT}/tcp" in ports] == []
    # What the proxy passes on, once the login is right, goes to the ports above.
    # To the single sign-on's port go four paths only.
    caddyfile = stack.exec(proxy, "cat", "/etc/caddy/Caddyfile")
    assert sorted(re.findall(r"reverse_proxy (\S+)", caddyfile)) == ["mlflow:5000", "serving:5001", "sso:4180"]
    [paths] = re.findall(r"@sso vars (.*)", caddyfile)
    assert paths == "{path} /oauth2/start /oauth2/callback /oauth2/sign_in /oauth2/sign_out"
