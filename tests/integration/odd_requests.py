"""Requests that no client of MLflow's sends, to every route that MLflow's server has: the same ones at each run.

The routes are those of the loaded application, and the bodies start from MLflow's own messages: one field of a request
that is otherwise valid holds something odd. So the walk follows MLflow when its version moves.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

NUL = "a\0b"
LONG = "x" * 300
VALUES: tuple[Any, ...] = (
    NUL,
    "",
    LONG,
    "x" * 70_000,
    "\ud800",
    "ä 日本 😀",
    "'; DROP TABLE runs; --",
    "../../etc/passwd",
    "%2e%2e%2fx",
    "a//b",
    -1,
    0,
    2**31,
    2**63,
    10**40,
    1.5,
    "NaN",
    True,
    None,
    [],
    {},
    [None],
    [[]],
    [{}],
    ["", NUL],
    {"key": NUL, "value": NUL},
    [{"key": NUL, "value": NUL}],
    [{"key": LONG, "value": None}],
    [{"key": "k", "value": {"a": []}}],
    "file:///etc",
    "gs://elsewhere/x",
    "./x",
)
FILTERS = (
    "(((((",
    "name = ",
    "a b c",
    "metrics.x > 'y'",
    "metrics.`x > 1",
    "params.a LIKE 1",
    "attributes.status = 5",
    "tags.'a' = \"b",
    "name = 'a' AND",
    "1 = 1",
    "attributes.start_time > 'now'",
    "attributes.start_time > 99999999999999999999999",
    "run_id IN ()",
    "tags.a = '\0'",
    "name ILIKE '%\ud800'",
    "timestamp_ms > 1e400",
    "metrics.x = NaN",
    "trace.x.y = 1",
    "feedback.a.b > 1",
    "span.attributes.a = 1",
    "prompt = 'a'",
    "metrics.x DESC ASC",
    "dataset.name = 1",
    ";",
    "name = 'a' OR name = 'b'",
)
# In a path or a query, percent-encoded already.
PARTS = (
    "%00",
    "a%00b",
    "..",
    "%2e%2e",
    "%252e%252e",
    ".",
    "a//b",
    "//",
    "a/",
    "%ff",
    "%0a",
    "%23",
    "x" * 256,
    "%C3%A4" * 128,
    "/".join(["x" * 200] * 6),
    "'",
    "%5C",
    "-1",
    "99999999999999999999999",
    "",
)
QUERIES = (
    *PARTS,
    "a&{name}=b",
    "%5B%5D",
    "%7B%22a%22:1%7D",
    "1e400",
    "NaN",
    "true",
    "file:///etc",
    "s3://elsewhere/x",
    "x" * 7000,
)
BODIES: tuple[bytes, ...] = (
    b"[]",
    b"[1]",
    b'"text"',
    b'"{}"',
    b"null",
    b"1",
    b"true",
    b"{",
    b"\xff\xfe",
    b"",
    b'{"a":' * 50,
)
HEADERS: tuple[dict[str, str], ...] = (
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/json; charset=latin-9"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Encoding": "gzip"},
    {"Range": "bytes=9-1"},
    {"Range": "bytes=-"},
    {"If-Modified-Since": "yesterday"},
    {"Accept": "x" * 3000},
    {"Cookie": "\xff=1"},
    {"Authorization": "Basic !"},
    {"X-MLFLOW-WORKSPACE": "a b"},
    {"x-mlflow-experiment-id": "a"},
    {"Origin": "null"},
    {"X-HTTP-Method-Override": "DELETE"},
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")


class Odd(NamedTuple):
    """A request; its target is percent-encoded."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Route(NamedTuple):
    """A route of the application: a method, a path with placeholders, and the class of MLflow's message or None."""

    method: str
    path: str
    message: Any


def _messages() -> dict[tuple[str, str], Any]:
    """Returns the class of the message that belongs to each method and path."""
    from mlflow.protos import databricks_pb2
    from mlflow.protos.mlflow_artifacts_pb2 import MlflowArtifactsService
    from mlflow.protos.model_registry_pb2 import ModelRegistryService
    from mlflow.protos.service_pb2 import MlflowService
    from mlflow.protos.webhooks_pb2 import WebhookService
    from mlflow.server import handlers

    found: dict[tuple[str, str], Any] = {}
    for service in (MlflowService, ModelRegistryService, MlflowArtifactsService, WebhookService):
        for method in service.DESCRIPTOR.methods:
            for endpoint in method.GetOptions().Extensions[databricks_pb2.rpc].endpoints:
                message = service().GetRequestClass(method)
                for path in handlers._get_paths(endpoint.path, version=endpoint.since.major):  # type: ignore[no-untyped-call]
                    found[endpoint.method, path] = message
    return found


def routes() -> list[Route]:
    """Returns the routes of MLflow's server, each with each of its methods."""
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app

    messages = _messages()
    found = {
        (method, rule.rule)
        for rule in flask_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    for route in app.routes:
        if included := getattr(route, "original_router", None):
            prefix = route.include_context.prefix
            found |= {(method, prefix + inner.path) for inner in included.routes for method in inner.methods}
    # Whatever is sent to the demo's start, it begins: a minute's work, and no refusal.
    left = {(method, path) for method, path in found if path.endswith("/demo/generate")}
    return [Route(method, path, messages.get((method, path))) for method, path in sorted(found - left)]


def _fields(message: Any) -> list[str]:
    return [field.name for field in message.DESCRIPTOR.fields] if message else []


def _filled(path: str, known: dict[str, Any], value: str | None = None) -> str:
    """Returns a path whose placeholders hold what is known, or all of them one value."""

    def fill(match: re.Match[str]) -> str:
        name = re.split(r"[:>}]", match[0].strip("<>{}"))
        key = name[-1] if match[0].startswith("<") else name[0]
        return quote(str(known.get(key, "1")), safe="/") if value is None else value

    return re.sub(r"<[^>]+>|\{[^}]+\}", fill, path)


def _odd_value(message: Any, name: str, choose: random.Random) -> Any:
    """Returns something odd for a field; for one that is a message itself, mostly one with something odd in it."""
    field = message.DESCRIPTOR.fields_by_name.get(name) if message else None
    if name in ("filter", "order_by", "filter_string") and choose.random() < 0.8:
        value = choose.choice(FILTERS)
        return [value] if field is not None and field.is_repeated else value
    if field is None or field.message_type is None or choose.random() < 0.2:
        return choose.choice(VALUES)
    content = _odd_message(field.message_type, choose)
    return [content] if field.is_repeated else content


def _odd_message(descriptor: Any, choose: random.Random, depth: int = 0) -> dict[str, Any]:
    """Returns a message with valid fields, one of which is odd."""
    content: dict[str, Any] = {}
    for field in descriptor.fields:
        if field.message_type is not None:
            if depth < 3:
                inner = _odd_message(field.message_type, choose, depth + 1)
                content[field.name] = [inner] if field.is_repeated else inner
        elif field.enum_type is not None:
            content[field.name] = choose.choice([value.name for value in field.enum_type.values])
        else:
            content[field.name] = "1"
    if content:
        content[choose.choice(list(content))] = choose.choice(VALUES)
    return content


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


def requests(known: dict[str, Any], count: int, seed: int = 20261129) -> Iterator[Odd]:
    """Yields so many odd requests, spread over all routes.

    Args:
        known: What is there on the server, by the name of the field that holds it: a run, an experiment, a model.
        count: How many.
        seed: Of the choice.
    """
    choose = random.Random(seed)  # noqa: S311 - no secret
    all_routes = routes()
    choose.shuffle(all_routes)
    for number in range(count):
        yield odd(all_routes[number % len(all_routes)], known, choose)


def odd(route: Route, known: dict[str, Any], choose: random.Random) -> Odd:
    """Returns an odd request to a route."""
    json_type = {"Content-Type": "application/json"}
    fields = _fields(route.message)
    valid = {name: known[name] for name in fields if name in known}
    kinds = ["method", "headers", "query"]
    kinds += ["path"] * (4 if re.search("[<{]", route.path) else 0)
    kinds += ["body"] + ["field"] * (8 if fields else 2) if route.method != "GET" else ["query"] * 8
    kind = choose.choice(kinds)
    path = _filled(route.path, known)
    body = None if route.method == "GET" else _json(valid)
    if kind == "method":
        return Odd(choose.choice(METHODS), path, json_type, body)
    if kind == "headers":
        return Odd(route.method, path, {**json_type, **choose.choice(HEADERS)}, body)
    if kind == "path":
        return Odd(route.method, _filled(route.path, known, choose.choice(PARTS)), json_type, body)
    if kind == "body":
        return Odd(route.method, path, json_type, choose.choice(BODIES))
    names = fields or [
        "path",
        "run_id",
        "run_uuid",
        "name",
        "version",
        "request_id",
        "experiment_id",
        "features",
        "query",
    ]
    if kind == "field":
        name = choose.choice(names)
        content = {**valid, name: _odd_value(route.message, name, choose)}
        return Odd(route.method, path, json_type, _json(content))
    name = choose.choice([*names, "path", "max_results", "page_token", "filter", "run_id", "artifact_file_path"])
    value = choose.choice(QUERIES).replace("{name}", name)
    if name in ("filter", "order_by", "filter_string"):
        value = quote(choose.choice(FILTERS), errors="replace")
    rest = "".join(f"&{key}={quote(str(held))}" for key, held in valid.items() if key != name)
    return Odd(route.method, f"{path}?{name}={value}{rest}", json_type, body)
