"""What an experiment and a registered model can hold, and a request for each route that changes something of it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .people import Persons

API = "/api/2.0/mlflow"
#: The request's method and path, and its options for requests.
Request = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """Something of each kind: in one experiment, and of one registered model."""

    experiment: str
    run: str
    deleted_run: str
    logged_model: str
    trace: str
    assessment: str
    dataset: str
    issue: str
    schema: str
    queue: str
    model: str

    @classmethod
    def make(cls, persons: Persons, name: str, by: str = "ada") -> Place:
        """Makes all of it as an administrator, whose answers have to be good."""

        def ask(path: str, /, **body: Any) -> Any:
            answer = persons.ask(by, "POST", path if path.startswith("/") else f"{API}/{path}", json=body)
            assert answer.ok, f"{path}: {answer.text}"
            return answer.json()

        experiment = ask("experiments/create", name=name)["experiment_id"]
        runs = [ask("runs/create", experiment_id=experiment)["run"]["info"]["run_id"] for _ in range(2)]
        ask("runs/delete", run_id=runs[1])
        logged = ask("logged-models", experiment_id=experiment, name="m")["model"]["info"]["model_id"]
        trace = f"tr-{uuid.uuid4().hex}"
        ask("/api/3.0/mlflow/traces", trace={"trace_info": trace_info(trace, experiment)})
        assessment = ask(f"/api/3.0/mlflow/traces/{trace}/assessments", assessment=feedback(trace))["assessment"]
        dataset = ask("/api/3.0/mlflow/datasets/create", name=name, experiment_ids=[experiment])["dataset"]
        issue = ask("/api/3.0/mlflow/issues", experiment_id=experiment, name="i", description="d")["issue"]
        schema = ask("/api/3.0/mlflow/label-schemas/create", **label_schema(experiment, "s"))["label_schema"]
        queue = ask("/api/3.0/mlflow/review-queues/create", experiment_id=experiment, name="q", queue_type="CUSTOM")[
            "review_queue"
        ]
        ask("registered-models/create", name=name)
        for _ in range(2):
            ask(
                "model-versions/create",
                name=name,
                source=f"mlflow-artifacts:/{experiment}/{runs[0]}/artifacts/m",
                run_id=runs[0],
            )
        ask("registered-models/alias", name=name, alias="candidate", version="1")
        return cls(
            experiment,
            runs[0],
            runs[1],
            logged,
            trace,
            assessment["assessment_id"],
            dataset["dataset_id"],
            issue["issue_id"],
            schema["schema_id"],
            queue["queue_id"],
            name,
        )


def trace_info(trace: str, experiment: str) -> dict[str, Any]:
    """Returns what a client tells of a new trace."""
    return {
        "trace_id": trace,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
    }


def feedback(trace: str) -> dict[str, Any]:
    """Returns an assessment of a trace."""
    return {
        "assessment_name": "good",
        "trace_id": trace,
        "source": {"source_type": "HUMAN", "source_id": "x"},
        "feedback": {"value": True},
    }


def label_schema(experiment: str, name: str) -> dict[str, Any]:
    """Returns a label schema."""
    return {"experiment_id": experiment, "name": name, "type": "FEEDBACK", "input": {"text": {"max_length": 9}}}


def spans(trace: str) -> bytes:
    """Returns a root span of a trace, as OpenTelemetry's clients send it."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id = bytes.fromhex(trace.removeprefix("tr-"))
    span.span_id, span.name, span.start_time_unix_nano, span.end_time_unix_nano = b"12345678", "root", 10**18, 10**18
    encoded: bytes = request.SerializeToString()
    return encoded


def in_experiment(place: Place) -> list[Request]:
    """Returns a request for each route that changes something in an experiment; those that end something are last."""
    at, run, logged, trace = place.experiment, place.run, place.logged_model, place.trace
    new = uuid.uuid4().hex
    v3 = "/api/3.0/mlflow"

    def json_request(method: str, path: str, /, **body: Any) -> Request:
        return method, path if path.startswith("/") else f"{API}/{path}", {"json": body}

    def post(path: str, /, **body: Any) -> Request:
        return json_request("POST", path, **body)

    otel = {"x-mlflow-experiment-id": at, "Content-Type": "application/x-protobuf"}
    artifact = f"{at}/{run}/artifacts/{new}"
    return [
        ("POST", "/v1/traces", {"data": spans(trace), "headers": otel}),
        ("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{artifact}", {"data": b"1"}),
        post(f"/api/2.0/mlflow-artifacts/mpu/create/{artifact}", path=artifact, num_parts=1),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path={new}", {"data": b"1"}),
        post(f"{v3}/datasets/create", name=new, experiment_ids=[at]),
        post(f"{v3}/datasets/{place.dataset}/add-experiments", experiment_ids=[at]),
        post(f"{v3}/datasets/{place.dataset}/records", records=json.dumps([{"inputs": {"a": 1}}])),
        json_request("PATCH", f"{v3}/datasets/{place.dataset}/tags", tags=json.dumps({"a": "b"})),
        json_request("DELETE", f"{v3}/datasets/{place.dataset}/tags/a"),
        post("experiments/set-experiment-tag", experiment_id=at, key="a", value="b"),
        post("experiments/delete-experiment-tag", experiment_id=at, key="a"),
        post(f"{v3}/issues", experiment_id=at, name=new, description="d"),
        json_request("PATCH", f"{v3}/issues/{place.issue}", issue_id=place.issue, name="other"),
        post(f"{v3}/label-schemas/create", **label_schema(at, new)),
        json_request("PATCH", f"{v3}/label-schemas/update", schema_id=place.schema, instruction="do"),
        post("logged-models", experiment_id=at, name="m"),
        json_request("PATCH", f"logged-models/{logged}", model_id=logged, status="LOGGED_MODEL_READY"),
        post(f"logged-models/{logged}/params", model_id=logged, params=[{"key": "p", "value": "1"}]),
        json_request("PATCH", f"logged-models/{logged}/tags", model_id=logged, tags=[{"key": "a", "value": "b"}]),
        json_request("DELETE", f"logged-models/{logged}/tags/a"),
        post(f"{v3}/review-queues/create", experiment_id=at, name=new, queue_type="CUSTOM"),
        post(f"{v3}/review-queues/get-or-create-user", experiment_id=at, user="mia"),
        post(f"{v3}/review-queues/update", queue_id=place.queue, name=f"{new}-2"),
        post(f"{v3}/review-queues/items/add", queue_id=place.queue, item_type="TRACE", item_ids=[trace]),
        post(
            f"{v3}/review-queues/items/set-status",
            queue_id=place.queue,
            item_id=trace,
            status="COMPLETE",
            completed_by="gina",
        ),
        post(f"{v3}/review-queues/items/remove", queue_id=place.queue, item_ids=[trace]),
        post("runs/create", experiment_id=at),
        post("runs/set-tag", run_id=run, key="a", value="b"),
        post("runs/delete-tag", run_id=run, key="a"),
        post("runs/log-batch", run_id=run, metrics=[{"key": "m", "value": 1.0, "timestamp": 1, "step": 1}]),
        post("runs/log-batch", run_id=run, params=[{"key": "q", "value": "1"}], tags=[{"key": "c", "value": "d"}]),
        post(
            "runs/log-inputs",
            run_id=run,
            datasets=[{"dataset": {"name": "d", "digest": "1", "source_type": "s", "source": "s"}}],
        ),
        post("runs/log-metric", run_id=run, key="m", value=1.0, timestamp=1, step=2),
        post("runs/log-metric", run_uuid=run, key="m", value=1.0, timestamp=1, step=3),
        post(
            "runs/log-model",
            run_id=run,
            model_json=json.dumps({"artifact_path": "m", "flavors": {}, "utc_time_created": "1", "run_id": run}),
        ),
        post("runs/log-parameter", run_id=run, key="p", value="1"),
        post("runs/outputs", run_id=run, models=[{"model_id": logged, "step": 0}]),
        post("runs/update", run_id=run, status="FINISHED", end_time=2),
        post("/api/2.0/mlflow/traces", experiment_id=at, timestamp_ms=1, request_metadata=[], tags=[]),
        post(f"{v3}/traces", trace={"trace_info": trace_info(f"tr-{new}", at)}),
        post("/api/2.0/mlflow/traces/link-prompts", trace_id=trace, prompt_versions=[{"name": "p", "version": "1"}]),
        post("/api/2.0/mlflow/traces/link-to-run", trace_ids=[trace], run_id=run),
        json_request("PATCH", f"/api/2.0/mlflow/traces/{trace}", timestamp_ms=2, status="OK"),
        json_request("PATCH", f"/api/2.0/mlflow/traces/{trace}/tags", key="a", value="b"),
        json_request("DELETE", f"/api/2.0/mlflow/traces/{trace}/tags", key="a"),
        post(f"{v3}/traces/{trace}/assessments", assessment=feedback(trace)),
        json_request(
            "PATCH",
            f"{v3}/traces/{trace}/assessments/{place.assessment}",
            assessment={"rationale": "r", "trace_id": trace, "assessment_id": place.assessment},
            update_mask="rationale",
        ),
        post(f"{v3}/datasets/{place.dataset}/remove-experiments", experiment_ids=[at]),
    ]


def of_its_owner(place: Place) -> list[Request]:
    """Returns what takes the owner too, or an administrator."""
    bodies: dict[str, dict[str, Any]] = {
        "experiments/update": {"experiment_id": place.experiment, "new_name": f"{place.model}-new"},
        "experiments/delete": {"experiment_id": place.experiment},
        "experiments/restore": {"experiment_id": place.experiment},
        "runs/delete": {"run_id": place.run},
        "runs/restore": {"run_id": place.deleted_run},
    }
    found: list[Request] = [("POST", f"{API}/{path}", {"json": body}) for path, body in bodies.items()]
    return [*found, ("DELETE", f"{API}/logged-models/{place.logged_model}", {"json": {}})]


def of_model(place: Place) -> list[Request]:
    """Returns a request for each route that changes something of a registered model; deletion is last."""
    name, run = place.model, place.run
    source = f"mlflow-artifacts:/{place.experiment}/{run}/artifacts/m"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "model-versions/create", {"source": source, "run_id": run}),
        ("POST", "model-versions/set-tag", {"version": "1", "key": "a", "value": "b"}),
        ("DELETE", "model-versions/delete-tag", {"version": "1", "key": "a"}),
        ("POST", "model-versions/transition-stage", {"version": "1", "stage": "Staging"}),
        ("PATCH", "model-versions/update", {"version": "1", "description": "d"}),
        ("POST", "registered-models/alias", {"alias": "candidate", "version": "1"}),
        ("DELETE", "registered-models/alias", {"alias": "candidate"}),
        ("POST", "registered-models/alias", {"alias": "champion", "version": "1"}),
        ("DELETE", "registered-models/alias", {"alias": "champion"}),
        ("POST", "registered-models/set-tag", {"key": "a", "value": "b"}),
        ("DELETE", "registered-models/delete-tag", {"key": "a"}),
        ("PATCH", "registered-models/update", {"description": "d"}),
        ("DELETE", "model-versions/delete", {"version": "2"}),
        ("POST", "registered-models/create", {}),
        ("POST", "registered-models/rename", {"new_name": f"{name}-renamed"}),
        ("DELETE", "registered-models/delete", {}),
    ]
    return [(method, f"{API}/{path}", {"json": {"name": name, **body}}) for method, path, body in requests]
