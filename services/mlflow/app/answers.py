"""The class of each answer, and one line in the log for each that fails.

MLflow's clients repeat a request that is answered with 5xx for minutes, and do not show what the answer says. So a
fault of the request is a 4xx, a fault that passes (database, storage) is a 503, and what is left is a fault of the
server: a 500 with its traceback in the log. No message shows SQL.
"""

import json
import logging
import sys
import traceback
from http import HTTPStatus
from typing import Any

import sqlalchemy
from flask import Flask, Response
from mlflow import exceptions
from mlflow.exceptions import MlflowException, MlflowTracingException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    NOT_FOUND,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)
from mlflow.server import handlers
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.refusal import one_line

# MLflow's codes that it answers with 5xx, though it is the request that does not fit this server or what is there.
STATUSES = {"INVALID_STATE": 409, "FEATURE_DISABLED": 400, "NOT_IMPLEMENTED": 404}
# What Python raises at a value that cannot be used. Programming errors are mostly of other kinds; the answer names the
# function in case that it is one after all.
ODD_VALUES = (ValueError, OverflowError, RecursionError)
# What PostgreSQL says of a request that is too large for it, where it would say the same again.
TOO_LARGE = "54"
# Answers that a client asks for in the normal course of things are not logged.
USUAL = ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS")


def _said(error: StatementError) -> str:
    """Returns what the database has said, without hints and the place in the statement."""
    return one_line(getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig))


def of_database(error: DBAPIError) -> MlflowException | None:
    """Returns the answer to a request that the database has refused or failed; None when it is the server's fault."""
    said = _said(error)
    too_large = str(getattr(error.orig, "pgcode", None) or "").startswith(TOO_LARGE)
    if isinstance(error, DataError | IntegrityError) or too_large:
        return MlflowException(f"The database refuses a value: {said}", error_code=INVALID_PARAMETER_VALUE)
    if isinstance(error, OperationalError | InterfaceError):
        return MlflowException(f"The database fails: {said}", error_code=TEMPORARILY_UNAVAILABLE)
    return None


def of_odd_value(error: BaseException) -> MlflowException:
    """Returns the answer to a request that holds a value at which Python has stumbled."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}" if frames else ""
    return MlflowException(
        f"A value of the request cannot be used: {one_line(str(error))} ({type(error).__name__}{place})",
        error_code=INVALID_PARAMETER_VALUE,
    )


def shown(error: MlflowException) -> MlflowException:
    """Returns the error that a client gets instead: MLflow goes by where an error was caught, and not by its cause."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        # An integrity error that MLflow understands is told in its own words.
        understood = isinstance(cause, IntegrityError) and error.error_code != ErrorCode.Name(BAD_REQUEST)
        return error if understood else of_database(cause) or error
    if isinstance(cause, sqlalchemy.exc.TimeoutError):
        return MlflowException(f"The database is busy: {one_line(str(cause))}", error_code=TEMPORARILY_UNAVAILABLE)
    if error.error_code != ErrorCode.Name(INTERNAL_ERROR):
        return error
    if isinstance(error, MlflowTracingException):
        # A trace whose spans are not there, or not yet.
        return MlflowException(error.message, error_code=NOT_FOUND)
    if isinstance(cause, ODD_VALUES):
        return of_odd_value(cause)
    if isinstance(cause, MlflowException):
        inner = shown(cause)
        if inner.error_code != error.error_code:
            return MlflowException(error.message, error_code=ErrorCode.Value(inner.error_code))
    return error


def is_bug(error: BaseException | None) -> bool:
    """Tells whether an error is a fault of the server's own, whose traceback is wanted."""
    if not isinstance(error, MlflowException):
        return error is not None
    answer = shown(error)
    return answer is error and error.__cause__ is not None and _status(answer) == HTTPStatus.INTERNAL_SERVER_ERROR


_status_of = MlflowException.get_http_status_code
_written = MlflowException.serialize_as_json


def _status(error: MlflowException) -> int:
    return int(_status_of(error))  # type: ignore[no-untyped-call]


def _hide_statement(context: Any) -> None:
    """Leaves a database's error the database's words, in one line: MLflow shows statement and values to the client."""
    error = context.sqlalchemy_exception
    if isinstance(error, StatementError):
        error.statement = error.params = error.code = None
        error.args = (_said(error),)


def _one_line_each(record: logging.LogRecord) -> bool:
    """Leaves out what MLflow logs of an error that becomes an answer, which has its line; a bug gets its traceback."""
    error = sys.exc_info()[1]
    if not isinstance(error, MlflowException | sqlalchemy.exc.SQLAlchemyError):
        return True
    if isinstance(error, MlflowException) and is_bug(error):
        record.exc_info = (type(error), error, error.__traceback__)
        return True
    return False


def install(flask_app: Flask) -> None:
    """Has all of MLflow's routes answer with these classes, and its log hold no second line of an answer."""
    exceptions.ERROR_CODE_TO_HTTP_STATUS.update(STATUSES)
    MlflowException.get_http_status_code = lambda error: _status(shown(error))  # type: ignore[method-assign]
    MlflowException.serialize_as_json = lambda error: _written(shown(error))  # type: ignore[method-assign, no-untyped-call]
    sqlalchemy.event.listen(sqlalchemy.Engine, "handle_error", _hide_statement)
    flask_app.register_error_handler(MlflowException, _answer)
    for kind in ODD_VALUES:
        flask_app.register_error_handler(kind, lambda error: _answer(of_odd_value(error)))
    for name in ("mlflow.server.handlers", "mlflow.server.mlflow_response", "mlflow.store.db.utils"):
        logging.getLogger(name).addFilter(_one_line_each)


@handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
def _answer(error: MlflowException) -> Response:
    """Answers an error that a handler of MlFlow's does not catch, as those do that catch theirs."""
    raise error


def printable(text: str) -> str:
    """Returns a text as one line that is not too long and holds nothing that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in one_line(text))


def line(method: str, path: str, status: int, body: bytes) -> str:
    """Returns the line about an answer; empty when it needs none.

    Args:
        method: The request's.
        path: The request's, percent-encoded.
        status: The answer's.
        body: The answer's, as JSON.
    """
    try:
        content = json.loads(body)
        said = content.get("message") or content["detail"]
        code = content.get("error_code", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    if code in USUAL:
        return ""
    kind = "error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused"
    return f"{kind}: {status} {method} {printable(path)}: {printable(str(said))}"


class Answers:
    """The middleware that logs, as an ASGI application around another one.

    Args:
        app: The other one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and its answer back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        failed = 0

        async def note(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start":
                kind = dict(message["headers"]).get(b"content-type", b"")
                is_error = message["status"] >= HTTPStatus.BAD_REQUEST and message["status"] != HTTPStatus.NOT_FOUND
                failed = message["status"] if is_error and kind.startswith(b"application/json") else 0
            elif failed:
                path = scope["raw_path"].decode("latin-1")
                if said := line(scope["method"], path, failed, message.get("body", b"")):
                    # By one call: lines of several requests do not mix.
                    sys.stderr.write(f"{said}\n")
                failed = 0
            await send(message)

        await self.app(scope, receive, note)
