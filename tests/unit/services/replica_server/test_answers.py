"""services/mlflow: a fault of the request is a 4xx, a temporary error a 503, a bug a 500; a line each, not two."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy
from flask import Flask
from mlflow import exceptions
from mlflow.exceptions import MlflowException, MlflowTracingException
from mlflow.protos import databricks_pb2 as codes
from mlflow.protos.service_pb2 import CreateRun, LogBatch, LogModel, SearchRuns, StartTraceV3, UpsertDatasetRecords
from mlflow.server import handlers as mlflow_handlers
from replica_server.artifacts import storage_errors
from replica_server.patches import error_answers, request_json
from replica_server.requests import answers
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from starlette.types import Message

handlers: Any = mlflow_handlers


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application whose routes fail in the ways that MLflow's do, with the answers installed."""
    monkeypatch.setattr(exceptions, "ERROR_CODE_TO_HTTP_STATUS", dict(exceptions.ERROR_CODE_TO_HTTP_STATUS))
    for name in ("get_http_status_code", "serialize_as_json"):
        monkeypatch.setattr(MlflowException, name, getattr(MlflowException, name))
    for name in ("_get_request_json", "parse_dict"):
        monkeypatch.setattr(handlers, name, getattr(handlers, name))
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET)
    application = Flask("test")
    application.add_url_rule("/graphql", "_graphql", lambda: "", methods=["POST"])
    application.add_url_rule("/do", "do", lambda: "", methods=["POST"])
    error_answers.apply(application)
    request_json.apply(application)
    yield application
    logging.disable(before)
    sqlalchemy.event.remove(sqlalchemy.Engine, "handle_error", error_answers._hide_statement)
    for name in ("mlflow.server.handlers", "mlflow.server.mlflow_response", "mlflow.store.db.utils"):
        logging.getLogger(name).removeFilter(error_answers._one_line_each)


def answer(app: Flask, fail: Callable[[], Any], caught: bool = True) -> tuple[int, dict[str, Any]]:
    """Returns the status and the content with which a route that does this answers."""
    app.view_functions["do"] = handlers.catch_mlflow_exception(fail) if caught else fail
    response = app.test_client().post("/do")
    return response.status_code, response.get_json(silent=True) or {}


def session(error: Exception) -> Callable[[], None]:
    """Returns what fails within one of MLflow's database sessions, as its stores do."""
    from mlflow.store.db.utils import _get_managed_session_maker
    from sqlalchemy.orm import sessionmaker

    engine = sqlalchemy.create_engine("sqlite://")
    maker = _get_managed_session_maker(sessionmaker(bind=engine), "postgresql")  # type: ignore[no-untyped-call]

    def fail() -> None:
        with maker():
            raise error

    return fail


class SaidError(Exception):
    """What PostgreSQL says, as psycopg2 has it."""

    def __init__(self, said: str, pgcode: str = "") -> None:
        super().__init__(f"{said}\nLINE 1: SELECT secret")
        self.pgcode = pgcode
        self.diag = type("Diagnosis", (), {"message_primary": said})


SQL = "SELECT secret FROM runs"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError(SQL, {}, SaidError("value too long")), 400),
        (IntegrityError(SQL, {}, SaidError("violates foreign key constraint")), 400),
        (OperationalError(SQL, {}, SaidError("index row size exceeds maximum", "54000")), 400),
        (OperationalError(SQL, {}, SaidError("server closed the connection")), 503),
        (InterfaceError(SQL, {}, SaidError("connection already closed")), 503),
        (sqlalchemy.exc.TimeoutError("QueuePool limit of size 5 reached"), 503),
        (ValueError("A string literal cannot contain NUL (0x00) characters."), 400),
        (OverflowError("int too large"), 400),
        (MlflowException("no such run", error_code=codes.RESOURCE_DOES_NOT_EXIST), 404),
        (MlflowException("run is deleted", error_code=codes.INVALID_STATE), 409),
        (MlflowTracingException("Trace data not stored in tracking store"), 404),  # type: ignore[no-untyped-call]
    ],
)
def test_session_error_has_its_causes_class(
    app: Flask, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Error in a session has the class of its cause."""
    found, content = answer(app, session(error))
    assert found == status
    assert "secret" not in json.dumps(content)
    assert caplog.records == []


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), AssertionError()])
def test_bug_is_a_500_with_its_traceback_in_the_log(
    app: Flask, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert answer(app, session(error))[0] == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert type(error).__name__ in caplog.text


def test_database_away_is_a_503_in_one_line(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Database that is away is a 503 without a second line."""
    from mlflow.store.db.utils import _get_managed_session_maker
    from sqlalchemy.orm import sessionmaker

    engine = sqlalchemy.create_engine("postgresql+psycopg2://nobody@127.0.0.1:9/nothing")
    maker = _get_managed_session_maker(sessionmaker(bind=engine), "postgresql")  # type: ignore[no-untyped-call]

    def fail() -> None:
        with maker() as opened:
            opened.execute(sqlalchemy.text("SELECT 1"))

    status, content = answer(app, fail)
    assert status == 503
    assert content["message"].startswith("The database fails: ")
    assert "Connection refused" in content["message"]
    assert caplog.records == []


def test_statement_is_in_no_error_of_the_database(app: Flask) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.OperationalError) as raised:
        connection.execute(sqlalchemy.text("SELECT secret FROM nowhere WHERE value = :value"), {"value": "hidden"})
    assert str(raised.value) == "no such table: nowhere"


def test_uncaught_errors_are_answers_too(app: Flask) -> None:
    """Odd value and uncaught error are answers too."""

    def odd() -> None:
        int("NaN")

    status, content = answer(app, odd, caught=False)
    assert (status, content["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "(ValueError in odd)" in content["message"]

    def uncaught() -> None:
        raise MlflowException("nothing there", error_code=codes.RESOURCE_DOES_NOT_EXIST)

    assert answer(app, uncaught, caught=False)[0] == 404


def test_error_because_of_another_one_has_its_class(app: Flask) -> None:
    def fail() -> None:
        try:
            raise MlflowException("no model m-1", error_code=codes.RESOURCE_DOES_NOT_EXIST)
        except MlflowException as error:
            raise MlflowException("Unable to fetch the model: no model m-1") from error

    status, content = answer(app, fail)
    assert (status, content["message"]) == (404, "Unable to fetch the model: no model m-1")


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        (400, 400),
        (403, 403),
        (404, 404),
        (409, 409),
        (412, 409),
        (429, 429),
        (418, 400),
        (500, 503),
        (507, 503),
        (599, 503),
        (499, 400),
    ],
)
def test_storages_status_decides_the_clients(status: int, answered: int) -> None:
    assert storage_errors.answer(status, "said").get_http_status_code() == answered  # type: ignore[no-untyped-call]


def post(app: Flask, message: Any, body: bytes) -> int:
    """Returns the status with which a route answers that reads this message."""

    def read() -> str:
        handlers._get_request_message(message)
        return ""

    app.view_functions["do"] = handlers.catch_mlflow_exception(read)
    return app.test_client().post("/do", data=body, content_type="application/json").status_code


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"true", b"{", b"\xff", b'"[]"'])
def test_body_that_is_no_object_is_a_400(app: Flask, body: bytes) -> None:
    assert post(app, CreateRun(), body) == 400
    response = app.test_client().post("/graphql", data=body, content_type="application/json")
    assert response.status_code == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"experiment_id": "1"}', b'"{\\"experiment_id\\": \\"1\\"}"'])
def test_body_that_old_clients_send_is_read(app: Flask, body: bytes) -> None:
    assert post(app, CreateRun(), body) == 200


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (CreateRun(), {"start_time": [None]}),
        (CreateRun(), {"tags": {"key": "a"}}),
        (CreateRun(), {"tags": ["a"]}),
        (LogBatch(), {"metrics": [{"key": "a", "value": []}]}),
        (StartTraceV3(), {"trace": "text"}),
        (StartTraceV3(), {"trace": {"trace_info": "text"}}),
        (LogModel(), {"model_json": "NaN"}),
        (UpsertDatasetRecords(), {"records": "[1]"}),
        (UpsertDatasetRecords(), {"records": "{"}),
    ],
)
def test_field_of_a_wrong_type_is_a_400(app: Flask, message: Any, content: dict[str, Any]) -> None:
    assert post(app, message, json.dumps(content).encode()) == 400


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (LogBatch(), {"metrics": [{"key": "a", "value": "NaN", "timestamp": "5", "step": 1.0}], "unknown": [{}]}),
        (StartTraceV3(), {"trace": {"traceInfo": {"tags": {"a": "b"}, "request_time": "2026-01-01T00:00:00Z"}}}),
        (UpsertDatasetRecords(), {"records": '[{"inputs": {}}]'}),
    ],
)
def test_field_as_clients_send_it_is_read(app: Flask, message: Any, content: dict[str, Any]) -> None:
    assert post(app, message, json.dumps(content).encode()) == 200


def test_null_is_a_field_not_given(app: Flask) -> None:
    """MLflow's check of a number would fail at it, with a 500."""

    def read() -> str:
        handlers._get_request_message(message, schema={"max_results": [lambda value: int(value)]})
        return str(message.max_results)

    message = SearchRuns()
    app.view_functions["do"] = handlers.catch_mlflow_exception(read)
    answered = app.test_client().post("/do", json={"max_results": None, "filter": None})
    assert (answered.status_code, answered.text) == (200, "1000")


@pytest.mark.parametrize(
    "content", [{}, {"query": 1}, {"query": "{"}, {"query": "{a}", "variables": []}, {"query": "{" * 5000}]
)
def test_query_that_is_none_is_a_400(app: Flask, content: dict[str, Any]) -> None:
    from flask import request
    from graphql import parse

    application = Flask("query")
    application.add_url_rule("/graphql", "_graphql", lambda: str(parse(request.get_json()["query"])), methods=["POST"])
    request_json.apply(application)
    assert application.test_client().post("/graphql", json=content).status_code == 400


def logged(status: int, content: Any, kind: bytes = b"application/json", path: bytes = b"/a%0A") -> str:
    """Returns what an answer leaves in the log."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    async def send(_message: Message) -> None:
        return

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "PUT", "path": "/a\n", "raw_path": path}
    with contextlib.redirect_stderr(io.StringIO()) as log:
        asyncio.run(answers.Answers(application)(scope, receive, send))
    return log.getvalue()


def test_tokens_stay_out_of_the_log() -> None:
    """Also where somebody writes one into an address."""
    token = f"mlr_{'a-_9' * 10}abc"
    said = answers.line("GET", f"/people/tokens/{token}", 403, json.dumps({"message": f"no {token}"}).encode())
    assert said == "refused: 403 GET /people/tokens/mlr_***: no mlr_***"


def test_failed_answer_is_one_line_in_the_log() -> None:
    said = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the storage\n\x1b[31m is away"}
    assert logged(503, said) == "error: 503 PUT /a%0A: the storage ?[31m is away\n"
    assert logged(400, {"error_code": "BAD_REQUEST", "message": "odd"}) == "refused: 400 PUT /a%0A: odd\n"
    assert logged(422, {"detail": [{"msg": "odd"}]}).startswith("refused: 422 PUT /a%0A: ")
    assert logged(400, {"message": "a"}, path=b"/\x1b[31m") == "refused: 400 PUT /?[31m: a\n"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"message": "fine"}),
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}),
        (400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there is one"}),
        (500, ["no", "message"]),
    ],
)
def test_answer_that_is_usual_is_not_logged(status: int, content: Any) -> None:
    assert logged(status, content) == ""
