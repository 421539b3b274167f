"""What is on a server before it is asked: the same things on MLflow's own server as on this stack's (test_stock.py).

They are made by valid requests, which both servers answer alike. What they are called here stands in the requests of
``stock_requests`` in braces, such as {run}.
"""

from __future__ import annotations

from typing import Any

import requests

#: More runs than the server loads at a time, and more values of a metric (services/mlflow, searches).
MANY_RUNS, MANY_VALUES = 260, 25_100
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
LARGE = bytes(range(256)) * 36 * 1024
#: An artifact of each kind: its name below the run, and its content.
FILES = {
    "folder/a.txt": b"text\n",
    "folder/deeper/b.json": b'{"b": 1}',
    "folder/%C3%A4%20b%2Bc.txt": b"odd name",
    "top.png": b"\x89PNG\r\n\x1a\n",
    "page.html": b"<script>1</script>",
    "noextension": b"\0\1",
    "empty.bin": b"",
    "large.bin": LARGE,
}
NOW = 1_790_000_000_000


class Server:
    """A server by its address, whose answers have to be good."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """Returns an answer's JSON; raises when the server refuses."""
        answer = self.session.request(method, self.url + path, timeout=120, **content)
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text[:300])
        return (
            answer.json()
            if answer.headers.get("content-type", "").startswith("application/json") and answer.text
            else {}
        )

    def post(self, path: str, **body: Any) -> Any:
        """Sends JSON to one of MLflow's routes and returns the answer's."""
        return self.ask("POST", f"/api/2.0/mlflow{path}", json=body)


def _run(server: Server, experiment: str, name: str, number: int = 0) -> str:
    tags = [{"key": "colour", "value": "green" if number % 2 else "red"}]
    body = {"experiment_id": experiment, "run_name": name, "start_time": NOW + number, "tags": tags}
    run = str(server.post("/runs/create", **body)["run"]["info"]["run_id"])
    metrics = [{"key": "loss", "value": 1 / (number + 1), "timestamp": NOW, "step": 0}]
    params = [{"key": "depth", "value": str(number)}, {"key": "text", "value": "Grüße"}]
    server.post("/runs/log-batch", run_id=run, metrics=metrics, params=params)
    return run


def _history(server: Server, run: str) -> None:
    for start in range(0, MANY_VALUES, 1000):
        steps = range(start, min(start + 1000, MANY_VALUES))
        values = [{"key": "long", "value": step / 7, "timestamp": NOW + step, "step": step} for step in steps]
        server.post("/runs/log-batch", run_id=run, metrics=values)


def prepare(url: str) -> dict[str, str]:
    """Makes the state on a server without any, and returns the ids that it has given to the things."""
    server = Server(url)

    def experiment(name: str, **more: Any) -> str:
        return str(server.post("/experiments/create", name=name, **more)["experiment_id"])

    known = {name: experiment(name) for name in ("experiment", "many", "other", "gone")}
    known["own"] = experiment("own", artifact_location="mlflow-artifacts:/own-place")
    run = known["run"] = _run(server, known["experiment"], "first")
    known["second"] = _run(server, known["experiment"], "second", 1)
    known["changed"] = _run(server, known["other"], "changed")
    known["own_run"] = _run(server, known["own"], "own")
    known["deleted"] = _run(server, known["experiment"], "deleted", 2)
    server.post("/runs/delete", run_id=known["deleted"])
    server.post("/experiments/delete", experiment_id=known["gone"])
    for number in range(MANY_RUNS):
        body = {"experiment_id": known["many"], "run_name": f"run-{number}", "start_time": NOW + number}
        server.post("/runs/create", **body)
    _history(server, run)
    known["place"] = f"{known['experiment']}/{run}/artifacts"
    for name, content in FILES.items():
        server.ask("PUT", f"{ARTIFACTS}/{known['place']}/{name}", data=content)
    _models(server, known)
    _traces(server, known)
    return known


def _models(server: Server, known: dict[str, str]) -> None:
    body = {"experiment_id": known["experiment"], "name": "model", "source_run_id": known["run"]}
    model = server.post("/logged-models", **body)["model"]["info"]
    known["model"] = model["model_id"]
    place = model["artifact_uri"].removeprefix("mlflow-artifacts:/")
    server.ask("PUT", f"{ARTIFACTS}/{place}/MLmodel", data=b"flavors: {}\n")
    server.post("/registered-models/create", name="registered", description="one")
    run_place = f"mlflow-artifacts:/{known['place']}/folder"
    source = f"models:/{known['model']}"
    server.post("/model-versions/create", name="registered", source=source, model_id=known["model"])
    server.post("/model-versions/create", name="registered", source=run_place, run_id=known["run"])
    server.post("/model-versions/create", name="registered", source=f"runs:/{known['run']}/folder", run_id=known["run"])
    server.post("/registered-models/alias", name="registered", alias="champion", version="1")


def _traces(server: Server, known: dict[str, str]) -> None:
    known["trace"] = "tr-" + "ab" * 16
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": known["experiment"]}}
    info = {"trace_id": known["trace"], "trace_location": place, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    server.ask("POST", "/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
    body = {"name": "rows", "experiment_ids": [known["experiment"]]}
    made = server.ask("POST", "/api/3.0/mlflow/datasets/create", json=body)
    known["dataset"] = made["dataset"]["dataset_id"]
