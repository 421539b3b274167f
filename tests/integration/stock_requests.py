"""The requests that both servers get: runs, metrics, registry, experiments, traces, and bodies of any kind.

Those about artifacts are in ``stock_artifact_requests``. They are sent in this order; each takes things as those before
it have left them. ``row=`` names the row of docs/operators/server-answers.md that says how the answers differ.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from .stock_compare import Request
from .stock_state import NOW

MLFLOW = "/api/2.0/mlflow"


def get(path: str, row: str = "", **headers: str) -> Request:
    """Returns a request for something."""
    return Request("GET", path if path.startswith("/") else f"{MLFLOW}/{path}", None, headers, row)


def post(path: str, body: Any = None, row: str = "", method: str = "POST", **headers: str) -> Request:
    """Returns a request with a body, JSON unless it is bytes."""
    return Request(method, path if path.startswith("/") else f"{MLFLOW}/{path}", body, headers, row)


def search(row: str = "in-pieces", **body: Any) -> Request:
    """Returns a search for runs, whose answer goes to the client in pieces unless it is a refusal."""
    return post("runs/search", {"experiment_ids": ["{experiment}"], **body}, row)


RUNS = [
    get("runs/get?run_id={run}"),
    get("runs/get?run_uuid={run}"),
    get("runs/get?run_id=missing"),
    get("runs/get"),
    get("runs/get?run_id=a%00b", "nul"),
    get("runs/get?run_id=a%ffb", "no-text"),
    get("/ajax-api/2.0/mlflow/runs/get?run_id={second}"),
    post("runs/create", {"experiment_id": "{other}", "run_name": "new", "start_time": NOW}),
    post("runs/create", {"experiment_id": "{other}", "run_name": "n", "tags": [{"key": "a", "value": "b"}]}),
    post("runs/create", {"experiment_id": "99999"}),
    post("runs/create", {"experiment_id": "{gone}"}),
    post("runs/create", {"experiment_id": "letters"}),
    post("runs/create", {"experiment_id": "{other}", "tags": "text"}, "wrong-type"),
    post("runs/create", {"experiment_id": "{other}", "run_name": ["a"]}, "wrong-type"),
    post("runs/create", {"experiment_id": "{other}", "run_name": "a\0b"}, "nul"),
    post("runs/update", {"run_id": "{changed}", "status": "FINISHED", "end_time": NOW}),
    post("runs/update", {"run_id": "{changed}", "run_name": "renamed"}),
    post("runs/update", {"run_id": "{changed}", "status": "ODD"}),
    post("runs/update", {"run_id": "missing", "status": "FINISHED"}),
    post("runs/delete", {"run_id": "{changed}"}),
    post("runs/delete", {"run_id": "missing"}),
    post("runs/restore", {"run_id": "{changed}"}),
    post("runs/delete", {}),
]

ORDERS = ("metrics.loss", "metrics.loss DESC", "params.depth ASC", "attributes.start_time DESC", "tags.colour")
FILTERS = (
    "metrics.loss > 0.6",
    "params.depth = '0'",
    "tags.colour = 'red' AND attributes.status = 'RUNNING'",
    "attributes.run_name LIKE 's%'",
    "attributes.run_id IN ('{run}', '{second}')",
    "metrics.none > 1",
)
ODD_FILTERS = ("odd filter", "metrics.loss > 'text'", "params.depth = 0", "attributes.start_time > 'now'")
MANY = {"experiment_ids": ["{many}"], "order_by": ["attributes.start_time"]}
SEARCHES = [
    search(),
    *(search(max_results=most) for most in (1, 2, 100, 1000, 50_000, "2")),
    *(search("", max_results=most) for most in (0, -1, 50_001)),
    *(search("wrong-type", max_results=most) for most in ("abc", 1.5, True, 10**12)),
    search(page_token=""),
    search("", page_token="odd"),
    search(max_results=1, page_token="eyJvZmZzZXQiOiAxfQ=="),
    *(search(order_by=[order]) for order in ORDERS),
    search("", order_by=["odd order by"]),
    search("wrong-type", order_by="metrics.loss"),
    search("wrong-type", order_by=[1]),
    *(search(filter=text) for text in FILTERS),
    *(search("", filter=text) for text in ODD_FILTERS),
    search("nul", filter="tags.colour = 'a\0b'"),
    search("wrong-type", filter=["text"]),
    *(search(run_view_type=view) for view in ("ALL", "DELETED_ONLY", "ACTIVE_ONLY", "ODD")),
    post("runs/search", {}, "in-pieces"),
    search(experiment_ids=[]),
    search(experiment_ids=["99999"]),
    search("wrong-type", experiment_ids="{experiment}"),
    post("runs/search", {**MANY, "max_results": 1000}, "in-pieces"),
    post("runs/search", {**MANY, "max_results": 255}, "in-pieces"),
    search(experiment_ids=["{many}", "{experiment}"], max_results=7),
    post("/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": ["{experiment}"], "max_results": 1}, "in-pieces"),
]

VALUE = {"run_id": "{second}", "key": "m", "value": 0.5, "timestamp": NOW, "step": 1}
GOOD_VALUES: tuple[Any, ...] = ("NaN", "Infinity", "-Infinity", 1, "1.5", 1e308)
ODD_VALUES: tuple[Any, ...] = ("text", [1], {})
#: The same value twice, and others of the same step and time.
BATCH = [VALUE, VALUE, *(VALUE | {"key": "n", "value": value} for value in ("NaN", 0, "Infinity", "NaN"))]
MODEL = {"run_id": "{second}", "artifact_path": "m", "utc_time_created": "2026-01-01", "flavors": {}}
METRICS = [
    post("runs/log-metric", VALUE),
    *(post("runs/log-metric", {**VALUE, "value": good}) for good in GOOD_VALUES),
    post("runs/log-metric", {**VALUE, "value": None}),
    *(post("runs/log-metric", {**VALUE, "value": odd}, "wrong-type") for odd in ODD_VALUES),
    post("runs/log-metric", {**VALUE, "timestamp": "now"}, "wrong-type"),
    post("runs/log-metric", {**VALUE, "step": 1.5}, "wrong-type"),
    post("runs/log-metric", {**VALUE, "step": 2**63}, "wrong-type"),
    post("runs/log-metric", {**VALUE, "key": "x" * 300}),
    post("runs/log-metric", {**VALUE, "key": "a//b"}),
    post("runs/log-metric", {**VALUE, "key": "a\0b"}, "nul"),
    post("runs/log-metric", {**VALUE, "run_id": "missing"}),
    post("runs/log-metric", {"run_id": "{second}"}),
    post("runs/log-metric", {**VALUE, "run_id": "{deleted}"}),
    post("runs/log-parameter", {"run_id": "{second}", "key": "p", "value": "1"}),
    post("runs/log-parameter", {"run_id": "{second}", "key": "p", "value": "1"}),
    post("runs/log-parameter", {"run_id": "{second}", "key": "p", "value": "2"}),
    post("runs/log-parameter", {"run_id": "{second}", "key": "long", "value": "x" * 7000}),
    post("runs/log-parameter", {"run_id": "{second}", "key": "p"}),
    post("runs/log-parameter", {"run_id": "{second}", "key": "number", "value": 1}, "wrong-type"),
    post("runs/set-tag", {"run_id": "{second}", "key": "t", "value": "1"}),
    post("runs/set-tag", {"run_id": "{second}", "key": "t", "value": "a\0b"}, "nul"),
    post("runs/delete-tag", {"run_id": "{second}", "key": "t"}),
    post("runs/delete-tag", {"run_id": "{second}", "key": "missing"}),
    post("runs/log-batch", {"run_id": "{second}", "metrics": [{"key": "b", "value": 1, "timestamp": NOW, "step": 0}]}),
    post("runs/log-batch", {"run_id": "{second}", "params": [{"key": "q", "value": "1"}, {"key": "q", "value": "2"}]}),
    post("runs/log-batch", {"run_id": "{second}", "params": [{"key": "p", "value": "9"}]}),
    post("runs/log-batch", {"run_id": "{second}", "tags": [{"key": "a"}]}),
    post("runs/log-batch", {"run_id": "{second}"}),
    post("runs/log-batch", {"run_id": "missing", "params": [{"key": "q", "value": "1"}]}),
    post("runs/log-batch", {"run_id": "{second}", "metrics": [VALUE | {"step": n} for n in range(1001)]}),
    *2 * (post("runs/log-batch", {"run_id": "{second}", "metrics": BATCH}),),
    post("runs/log-batch", {"run_id": "{second}", "metrics": [VALUE | {"value": "1.5", "step": "7"}]}),
    post("runs/log-batch", {"run_id": "{second}", "metrics": [VALUE | {"key": "a//b"}]}),
    post("runs/log-batch", {"run_id": "{second}", "metrics": [VALUE | {"timestamp": -1}]}),
    post("runs/log-batch", {"run_id": "{second}", "metrics": [VALUE | {"dataset_name": "d"}]}),
    post("runs/log-batch", {"run_id": "{deleted}", "metrics": [VALUE]}),
    post("runs/log-batch", {"run_id": "0" * 32, "metrics": [VALUE]}),
    post("runs/log-batch", {"run_id": "{second}", "metrics": ["text"]}, "wrong-type"),
    post("runs/log-batch", {"run_id": "{second}", "params": {"key": "r", "value": "1"}}, "wrong-type"),
    post("runs/log-inputs", {"run_id": "{second}", "datasets": []}),
    post("runs/log-inputs", {"run_id": "{second}", "datasets": [{"dataset": {"name": "d"}}]}),
    post("runs/log-model", {"run_id": "{second}", "model_json": json.dumps(MODEL)}),
    post("runs/log-model", {"run_id": "{second}", "model_json": "no json"}, "wrong-type"),
    get("runs/get?run_id={second}"),
]

HISTORY = "metrics/get-history?run_id={run}&metric_key=long"
BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
HISTORIES = [
    get("metrics/get-history?run_id={run}&metric_key=loss", "in-pieces"),
    get("metrics/get-history?run_uuid={run}&metric_key=loss", "in-pieces"),
    get(HISTORY, "in-pieces"),
    get(f"{HISTORY}&max_results=5", "in-pieces"),
    get(f"{HISTORY}&max_results=25001", "in-pieces"),
    *(get(f"{HISTORY}&max_results={most}") for most in ("0", "-1")),
    *(get(f"{HISTORY}&max_results={most}", "wrong-type") for most in ("abc", "1.5", "")),
    get(f"{HISTORY}&max_results=5&page_token=odd"),
    get("metrics/get-history?run_id={run}&metric_key=none", "in-pieces"),
    get("metrics/get-history?run_id=missing&metric_key=loss", "in-pieces"),
    get("metrics/get-history?run_id={run}"),
    get("metrics/get-history?metric_key=loss"),
    get(f"{BULK}?run_id={{run}}&metric_key=loss"),
    get(f"{BULK}?run_id={{run}}&metric_key=long&max_results=3"),
    get(f"{BULK}?run_id={{run}}"),
    get(f"{BULK}?metric_key=loss"),
    get(f"{BULK}?run_id={{run}}&metric_key=loss&max_results=abc", "odd-value"),
    get(f"{BULK}-interval?run_ids={{run}}&metric_key=long&max_results=10"),
    get(f"{BULK}-interval?run_ids={{run}}&metric_key=long&start_step=3&end_step=9"),
    get(f"{BULK}-interval?run_ids={{run}}&metric_key=long&start_step=9&end_step=3"),
    get(f"{BULK}-interval?run_ids={{run}}&metric_key=long&max_results=0"),
    get(f"{BULK}-interval?run_ids={{run}}&metric_key=long&max_results=99999"),
    get(f"{BULK}-interval?metric_key=long"),
]

VERSION = {"name": "registered", "run_id": "{run}"}
REGISTRY = [
    post("registered-models/create", {"name": "another", "tags": [{"key": "a", "value": "b"}]}),
    post("registered-models/create", {"name": "registered"}),
    post("registered-models/create", {"name": ""}),
    post("registered-models/create", {"name": "a/b"}),
    post("registered-models/create", {"name": "a\0b"}, "nul"),
    get("registered-models/get?name=registered"),
    get("registered-models/get?name=missing"),
    get("registered-models/search"),
    get("registered-models/search?filter=name%20LIKE%20%27reg%25%27&max_results=1"),
    get("registered-models/search?filter=odd"),
    get("registered-models/search?max_results=0"),
    get("registered-models/search?max_results=abc", "wrong-type"),
    post("registered-models/get-latest-versions", {"name": "registered"}),
    post("registered-models/update", {"name": "another", "description": "d"}, method="PATCH"),
    post("registered-models/rename", {"name": "another", "new_name": "renamed"}),
    post("registered-models/set-tag", {"name": "renamed", "key": "a", "value": "c"}),
    post("registered-models/delete", {"name": "renamed"}, method="DELETE"),
    post("registered-models/delete", {"name": "missing"}, method="DELETE"),
    post("registered-models/alias", {"name": "registered", "alias": "new", "version": "2"}),
    post("registered-models/alias", {"name": "registered", "alias": "v1", "version": "1"}),
    post("registered-models/alias", {"name": "registered", "alias": "new", "version": "99"}),
    get("registered-models/alias?name=registered&alias=new"),
    get("registered-models/alias?name=registered&alias=missing"),
    post("registered-models/alias", {"name": "registered", "alias": "new"}, method="DELETE"),
    get("model-versions/get?name=registered&version=1"),
    get("model-versions/get?name=registered&version=99"),
    get("model-versions/get?name=registered&version=abc"),
    get("model-versions/get?name=registered&version=99999999999999999999"),
    get("model-versions/get-download-uri?name=registered&version=2"),
    get("model-versions/search?filter=name%3D%27registered%27&order_by=version_number%20DESC"),
    get("model-versions/search?max_results=1"),
    get("model-versions/search?filter=odd"),
    post("model-versions/create", {**VERSION, "source": "runs:/{run}/folder"}),
    post("model-versions/create", {**VERSION, "source": "models:/registered/2"}),
    post("model-versions/create", {**VERSION, "source": "mlflow-artifacts:/{place}/folder"}),
    post("model-versions/create", {**VERSION, "source": "mlflow-artifacts:/{experiment}/../x"}, "foreign-source"),
    post("model-versions/create", {**VERSION, "source": "file:///etc"}, "foreign-source"),
    post("model-versions/create", {"name": "registered", "source": "s3://elsewhere/x"}, "foreign-source"),
    post("model-versions/create", {"name": "registered", "source": "gs://elsewhere/x"}, "foreign-source"),
    post("model-versions/create", {"name": "missing", "source": "runs:/{run}/folder"}),
    post("model-versions/update", {"name": "registered", "version": "2", "description": "d"}, method="PATCH"),
    post("model-versions/transition-stage", {"name": "registered", "version": "2", "stage": "Staging"}),
    post("model-versions/transition-stage", {"name": "registered", "version": "2", "stage": "Odd"}),
    post("model-versions/set-tag", {"name": "registered", "version": "2", "key": "a", "value": "b"}),
    post("model-versions/delete", {"name": "registered", "version": "99"}, method="DELETE"),
    get("logged-models/{model}"),
    get("logged-models/missing"),
    post("logged-models/search", {"experiment_ids": ["{experiment}"]}),
    post("logged-models/{model}/tags", {"tags": [{"key": "a", "value": "b"}]}, method="PATCH"),
    post("logged-models/{model}", {"model_id": "{model}", "status": "LOGGED_MODEL_READY"}, method="PATCH"),
]

EXPERIMENTS = [
    get("experiments/get?experiment_id={experiment}"),
    get("experiments/get?experiment_id=99999"),
    get("experiments/get?experiment_id=letters"),
    get("experiments/get"),
    get("experiments/get-by-name?experiment_name=own"),
    get("experiments/get-by-name?experiment_name=missing"),
    post("experiments/search", {"max_results": 1000}),
    post("experiments/search", {"max_results": 2, "order_by": ["name DESC"], "filter": "name LIKE 'o%'"}),
    post("experiments/search", {"max_results": 0}),
    post("experiments/search", {"max_results": 1_000_000}),
    post("experiments/search", {"max_results": 1, "page_token": "odd"}),
    post("experiments/search", {"max_results": 1, "filter": "odd"}),
    get("experiments/search?max_results=1"),
    post("experiments/create", {"name": "created"}),
    post("experiments/create", {"name": "experiment"}, "database-words"),
    post("experiments/create", {"name": ""}),
    post("experiments/create", {"name": "x" * 600}),
    post("experiments/create", {"name": "a\0b"}, "nul"),
    post("experiments/create", {"name": "below", "artifact_location": "mlflow-artifacts:/below"}),
    *(
        post("experiments/create", {"name": f"at {place}", "artifact_location": place}, "foreign-location")
        for place in ("file:///etc", "./x", "gs://elsewhere/x", "s3://elsewhere/x", "mlflow-artifacts://elsewhere/x")
    ),
    post("experiments/create", {"name": "query", "artifact_location": "mlflow-artifacts:/x?a=b"}),
    post("experiments/update", {"experiment_id": "{own}", "new_name": "own renamed"}),
    post("experiments/set-experiment-tag", {"experiment_id": "{own}", "key": "a", "value": "b"}),
    post("experiments/delete-experiment-tag", {"experiment_id": "{own}", "key": "missing"}),
    post("experiments/delete", {"experiment_id": "99999"}),
    post("experiments/restore", {"experiment_id": "{gone}"}),
    post("/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": ["{experiment}"]}),
]

V3 = "/api/3.0/mlflow"
PLACE = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{experiment}"}}
TRACES = [
    get(f"{V3}/traces/{{trace}}"),
    get(f"{V3}/traces/tr-missing"),
    get(f"{V3}/traces/get?trace_id={{trace}}", "trace-without-spans"),
    get("/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}"),
    get("/ajax-api/3.0/mlflow/get-trace-artifact?request_id=missing"),
    get("/ajax-api/3.0/mlflow/get-trace-artifact"),
    post(f"{V3}/traces/search", {"locations": [PLACE]}),
    post(f"{V3}/traces/search", {"locations": [PLACE], "max_results": 0}),
    post(f"{V3}/traces/search", {"locations": [PLACE], "filter": "odd"}),
    post(f"{V3}/traces/{{trace}}/tags", {"key": "a", "value": "b"}, method="PATCH"),
    post(
        f"{V3}/traces/{{trace}}/tags",
        {"key": "mlflow.artifactLocation", "value": "gs://elsewhere/x"},
        "trace-location",
        "PATCH",
    ),
    post(f"{V3}/traces/tr-missing/tags", {"key": "a", "value": "b"}, "database-words", "PATCH"),
    post(f"{V3}/traces/delete-traces", {"experiment_id": "{other}", "max_timestamp_millis": 1}),
    get(f"{V3}/datasets/{{dataset}}"),
    get(f"{V3}/datasets/d-missing"),
    post(f"{V3}/datasets/search", {"experiment_ids": ["{experiment}"]}),
    post(f"{V3}/datasets/{{dataset}}/records", {"dataset_id": "{dataset}", "records": "[]"}),
    post(f"{V3}/datasets/{{dataset}}/records", {"dataset_id": "{dataset}", "records": "no json"}, "wrong-type"),
    post(f"{V3}/datasets/{{dataset}}/tags", {"dataset_id": "{dataset}", "tags": "[]"}, "wrong-type", "PATCH"),
    post("/graphql", {"query": 'query { mlflowGetRun(input: {runId: "{run}"}) { run { info { runName } } } }'}),
    post("/graphql", {"query": "{ odd"}, "wrong-type"),
    post("/graphql", {}, "wrong-type"),
]


def nested(depth: int) -> bytes:
    """Returns JSON of so many levels."""
    return b'{"a":' * depth + b"1" + b"}" * depth


JSON = {"Content-Type": "application/json"}
SMALL = json.dumps({"max_results": 1}).encode()
ASK = "experiments/search"


def body(content: bytes, row: str = "", **headers: str) -> Request:
    """Returns a search for experiments with this body."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request("POST", f"{MLFLOW}/{ASK}", content, {**JSON, **named}, row)


SPANS = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "{experiment}"}
BODIES = [
    body(SMALL),
    body(b""),
    body(b"null"),
    body(b"{}"),
    *(body(content, "no-object") for content in (b"[]", b"[1]", b'"text"', b"1", b"true", b"{", b"\xff\xfe")),
    body(json.dumps(SMALL.decode()).encode()),
    body(SMALL, "packed", Content_Encoding="gzip"),
    body(gzip.compress(SMALL), "packed", Content_Encoding="gzip"),
    body(zlib.compress(SMALL), "packed", Content_Encoding="deflate"),
    search("null", max_results=None),
    search(filter=None, order_by=None, page_token=None),
    body(SMALL, "packed", Content_Encoding="br"),
    body(b'{"max_results": NaN}', "no-object"),
    body(nested(150), "no-object"),
    body(b'{"filter": "name = \'\\ud800\'", "max_results": 1}', "nul"),
    body(SMALL, Content_Type="text/plain"),
    body(SMALL, Content_Type="application/x-www-form-urlencoded"),
    body(SMALL, Content_Type="application/json; charset=utf-8"),
    Request("POST", "/v1/traces", gzip.compress(b""), {**SPANS, "Content-Encoding": "gzip"}),
    Request("POST", "/v1/traces", zlib.compress(b"odd"), {**SPANS, "Content-Encoding": "deflate"}),
    Request("POST", "/v1/traces", b"odd", SPANS),
    body(b" " * (16 * 2**20 + 1), "too-large"),
]

OTHERS = [
    get("/health"),
    get("/version"),
    get("/"),
    get("/no/such/page"),
    get("no/such/route"),
    get("runs/create"),
    post("runs/get"),
    Request("OPTIONS", f"{MLFLOW}/experiments/search"),
    Request("HEAD", f"{MLFLOW}/experiments/get?experiment_id={{experiment}}"),
    Request("TRACE", "/health"),
    get("/api/3.0/mlflow/server-info", "signed-addresses"),
    get("/ajax-api/3.0/mlflow/ui-telemetry"),
    get("experiments/get?experiment_id={experiment}", Host="foreign.invalid"),
    get("experiments/get?experiment_id={experiment}", Host="0.0.0.0:5000"),
    get("experiments/get?experiment_id={experiment}", Host="mlflow:5000"),
    post(ASK, {"max_results": 1}, Origin="https://foreign.invalid"),
    post(ASK, {"max_results": 1}, Origin="http://localhost:5000"),
    Request("GET", f"{MLFLOW}/runs/get?run_id={{run}}", None, {"X-MLFLOW-WORKSPACE": "team"}, "workspace"),
    get("webhooks", "off-route"),
    get("/ajax-api/3.0/mlflow/gateway/endpoints/list", "off-route"),
    post("/gateway/mlflow/v1/chat/completions", {"model": "none"}, "off-route"),
    get("/ajax-api/3.0/mlflow/scorers/list?experiment_id={experiment}"),
    post("/api/3.0/mlflow/scorers/register", {"experiment_id": "{experiment}"}, "off-route"),
    get("/api/3.0/mlflow/mcp-servers", "off-route"),
    get("/api/3.0/mlflow/workspaces", "off-route"),
    post("/ajax-api/3.0/jobs/search", {}, "off-route"),
    get("/ajax-api/3.0/mlflow/assistant/config"),
    post("/ajax-api/3.0/mlflow/assistant/config", {}, "off-route", "PUT"),
]

REQUESTS = [*RUNS, *SEARCHES, *METRICS, *HISTORIES, *REGISTRY, *EXPERIMENTS, *TRACES, *BODIES, *OTHERS]
