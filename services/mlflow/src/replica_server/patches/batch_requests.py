"""Reads a `log_batch` of the usual form by itself; MLflow's way through protobuf takes 40 µs of the processor a metric.

The usual form is what MLflow's clients send: each field under its name, with a value of its type. Any other request
goes MLflow's way, so that its answer is MLflow's, whatever it is: a refusal, or a form that protobuf knows too.

Replaces: `mlflow.server.handlers._log_batch` (the view of this name).
Gain: 1,000 metrics are read in 0.6 ms of the processor instead of 19 (14 of them MLflow's, 5 of request_json.py).
Upstream: no thread found.
Test: test_batch_requests.py; tests/integration/test_stock.py.
Goes when: MLflow reads 1,000 metrics in a few milliseconds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask, Response
from mlflow.entities import Metric, Param, RunTag
from mlflow.protos.service_pb2 import LogBatch
from mlflow.server import handlers
from mlflow.utils.proto_json_utils import message_to_json

from replica_server.patches.replace import replace

FIELDS = {"run_id", "metrics", "params", "tags"}
#: What else may stand in a metric; a text each.
LINKS = ("model_id", "dataset_name", "dataset_digest", "run_id")
#: How JSON's texts name the numbers that JSON has not.
NO_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
#: Beyond it a floating-point number does not hold each integer, and protobuf refuses some.
EXACT = 2**53
LARGEST = 2**63 - 1


class Batch(NamedTuple):
    """What a request asks to log."""

    run_id: str
    metrics: list[Metric]
    params: list[Param]
    tags: list[RunTag]


class UnusualError(Exception):
    """A request is not of the usual form."""


def apply(app: Flask) -> None:
    """Has requests of the usual form read here."""
    replace(app.view_functions, "_log_batch", _log_batch)


def _log_batch(theirs: Callable[[], Response]) -> Callable[[], Response]:
    answer = message_to_json(LogBatch.Response())

    @handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
    def log_batch() -> Response:
        try:
            batch = usual(handlers._get_request_json())  # type: ignore[no-untyped-call]
        except UnusualError:
            return theirs()
        store: Any = handlers._get_tracking_store()
        store.log_batch(**batch._asdict())
        return Response(answer, mimetype="application/json")

    return log_batch  # type: ignore[no-any-return]


def usual(content: Any) -> Batch:
    """Returns what a request of the usual form asks to log.

    Args:
        content: Its JSON.

    Raises:
        UnusualError: It is not of the usual form.
    """
    if type(content) is not dict or not FIELDS.issuperset(content):
        raise UnusualError
    run_id, metrics = content.get("run_id"), content.get("metrics", [])
    if type(run_id) is not str or not run_id or type(metrics) is not list:
        raise UnusualError
    pairs = {name: _pairs(content.get(name, [])) for name in ("params", "tags")}
    return Batch(
        run_id,
        [_metric(item) for item in metrics],
        [Param(key, value) for key, value in pairs["params"]],
        [RunTag(key, value) for key, value in pairs["tags"]],
    )


def _metric(item: Any) -> Metric:
    if type(item) is not dict:
        raise UnusualError
    key, value, timestamp, step = item.get("key"), item.get("value"), item.get("timestamp"), item.get("step", 0)
    if type(key) is not str or not key or type(timestamp) is not int or type(step) is not int:
        raise UnusualError
    if not -LARGEST <= timestamp <= LARGEST or not -LARGEST <= step <= LARGEST:
        raise UnusualError
    if type(value) is not float:
        value = _number(value)
    if len(item) == 3 + ("step" in item):
        return Metric(key, value, timestamp, step)
    links = {name: item[name] for name in LINKS if name in item}
    if len(item) != 3 + ("step" in item) + len(links) or not all(type(link) is str for link in links.values()):
        raise UnusualError
    # To protobuf a text of no length is one that is not given.
    return Metric(key, value, timestamp, step, **{name: link or None for name, link in links.items()})


def _number(value: Any) -> float:
    if type(value) is int and -EXACT <= value <= EXACT:
        return float(value)
    if type(value) is str and value in NO_NUMBERS:
        return NO_NUMBERS[value]
    raise UnusualError


def _pairs(items: Any) -> list[tuple[str, str]]:
    if type(items) is not list:
        raise UnusualError
    found = []
    for item in items:
        if type(item) is not dict or item.keys() != {"key", "value"}:
            raise UnusualError
        key, value = item["key"], item["value"]
        if type(key) is not str or not key or type(value) is not str:
            raise UnusualError
        found.append((key, value))
    return found
