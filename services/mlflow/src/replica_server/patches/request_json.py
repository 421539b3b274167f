"""Refuses JSON that does not fit MLflow's messages: it has to be an object with fields of their types.

Where a field has another type, MLflow goes on with the fields before it, and answers with whatever comes of that: a run
in another experiment, or a 500.

Replaces: `_get_request_json` and `parse_dict` of `mlflow.server.handlers`, and its view `_graphql`.
Gain: a 400 at once, where MLflow stores a part (200), or answers 500, which its clients repeat for minutes.
Upstream: mlflow#12550 (open) asks for consistent validation.
Test: test_answers.py; tests/integration/test_odd_requests.py.
Goes when: MLflow refuses these requests.
"""

import json
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask import request as current
from google.protobuf.json_format import ParseError
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.server import handlers as _handlers

from replica_server.patches.replace import replace
from replica_server.text import one_line

handlers: Any = _handlers

KINDS: dict[type, str] = {dict: "an object", list: "a list of objects"}
# The fields in which MLflow's messages carry JSON as a text.
JSON_TEXTS: dict[str, dict[str, type]] = {
    "CreateDataset": {"tags": dict},
    "LogModel": {"model_json": dict},
    "SetDatasetTags": {"tags": dict},
    "UpsertDatasetRecords": {"records": list},
}


def _refuse(reason: str) -> MlflowException:
    return MlflowException(f"The request's body {reason}", error_code=INVALID_PARAMETER_VALUE)


def check(content: Any, body: bytes) -> None:
    """Refuses a body that is no JSON object.

    Args:
        content: What it is as JSON; None when it is null, empty or no JSON.
        body: Its bytes.

    Raises:
        MlflowException: With status 400.
    """
    if content is None and body.strip() not in (b"", b"null"):
        raise _refuse("is no JSON")
    if isinstance(content, str):
        # Old clients encode their object twice.
        try:
            content = json.loads(content)
        except ValueError:
            raise _refuse("is a text where an object is expected") from None
    if content is not None and not isinstance(content, dict):
        raise _refuse(f"is JSON, but no object: {type(content).__name__}")


def check_fields(content: dict[str, Any], message: Any) -> None:
    """Refuses what is no object where a message's field is a message: protobuf takes a text for an empty one.

    Args:
        content: The JSON object.
        message: The descriptor of its message.

    Raises:
        MlflowException: With status 400.
    """
    for field in message.fields:
        value = content.get(field.name, content.get(field.json_name))
        kind = field.message_type
        # Maps and Google's own types have other forms in JSON, which protobuf checks.
        if value is None or kind is None or kind.GetOptions().map_entry or kind.full_name.startswith("google."):
            continue
        if field.is_repeated and not isinstance(value, list):
            raise _refuse(f"does not fit: {field.name} has to be a list")
        for item in value if field.is_repeated else [value]:
            if not isinstance(item, dict):
                raise _refuse(f"does not fit: {field.name} has to be an object, and not {type(item).__name__}")
            check_fields(item, kind)


def check_texts(message: Any) -> None:
    """Refuses a message whose field should hold the text of JSON, and does not; raises MlflowException, status 400."""
    for name, kind in JSON_TEXTS.get(message.DESCRIPTOR.name, {}).items():
        text = getattr(message, name)
        if not text:
            continue
        try:
            content = json.loads(text)
        except ValueError as error:
            raise _refuse(f"does not fit: {name} is no JSON: {one_line(str(error))}") from None
        items = content if isinstance(content, list) else []
        if not isinstance(content, kind) or not all(isinstance(item, dict) for item in items):
            raise _refuse(f"does not fit: {name} has to be the JSON of {KINDS[kind]}")


def apply(app: Flask) -> None:
    """Puts these checks where MLflow reads a request's JSON."""
    replace(handlers, "_get_request_json", _read)
    replace(handlers, "parse_dict", _parse)
    replace(app.view_functions, "_graphql", _graphql)


def _read(read: Callable[[Any], Any]) -> Callable[..., Any]:
    def request_json(flask_request: Any = current) -> Any:
        content = read(flask_request)
        check(content, flask_request.get_data())
        # To protobuf a field of null is one that is not given; MLflow's checks of numbers would fail at it.
        if isinstance(content, dict):
            return {name: value for name, value in content.items() if value is not None}
        return content

    return request_json


def _parse(parse: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def parse_dict(js_dict: Any, message: Any) -> None:
        check_fields(js_dict, message.DESCRIPTOR)
        try:
            parse(js_dict, message)
        except ParseError as error:
            raise _refuse(f"does not fit: {one_line(str(error))}") from error
        check_texts(message)

    return parse_dict


def _graphql(answer: Callable[[], Any]) -> Callable[[], Any]:
    @handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
    def graphql() -> Any:
        from graphql import GraphQLError

        content = handlers._get_request_json()
        if not isinstance(content, dict) or not isinstance(content.get("query"), str):
            raise _refuse("has no query")
        for name, kind in (("variables", dict), ("operationName", str)):
            if not isinstance(content.get(name), kind | None):
                raise _refuse(f"has {name} of a wrong type")
        try:
            return answer()
        except (GraphQLError, RecursionError) as error:
            raise _refuse(f"holds no query that can be read: {one_line(str(error))}") from error

    return graphql  # type: ignore[no-any-return]
