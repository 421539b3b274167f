"""Gives every MLflow error the status of requests/errors.py, and keeps MLflow from logging it a second time.

Replaces: `mlflow.exceptions.ERROR_CODE_TO_HTTP_STATUS`, and `get_http_status_code` and `serialize_as_json` of
    `mlflow.exceptions.MlflowException`.
Gain: of 13 kinds of errors (test_answers.py), 9 get another status: clients repeat what passes (503), and no fault of
    the request (4xx). No answer shows SQL; MLflow's shows it for 5 of them.
Upstream: mlflow#7240 made outages 503; mlflow#5848 (open): a wrong search is a 500 on PostgreSQL.
Test: test_answers.py; tests/integration/test_odd_requests.py.
Goes when: MLflow tells the request's faults from the server's.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

import sqlalchemy
from flask import Flask, Response
from mlflow import exceptions
from mlflow.exceptions import MlflowException
from mlflow.server import handlers
from sqlalchemy.exc import StatementError

from replica_server.patches.replace import replace
from replica_server.requests.errors import ODD_VALUES, is_bug, of_odd_value, said, shown

# MLflow's codes that it answers with 5xx, though it is the request that does not fit this server or what is there.
STATUSES = {"INVALID_STATE": 409, "FEATURE_DISABLED": 400, "NOT_IMPLEMENTED": 404}


def _hide_statement(context: Any) -> None:
    """Leaves a database's error the database's words, in one line: MLflow shows statement and values to the client."""
    error = context.sqlalchemy_exception
    if isinstance(error, StatementError):
        error.statement = error.params = error.code = None
        error.args = (said(error),)


def _of_shown(method: Callable[[MlflowException], Any]) -> Callable[[MlflowException], Any]:
    """Returns a method of an error's that tells of the error which the client gets instead."""
    return lambda error: method(shown(error))


def _one_line_each(record: logging.LogRecord) -> bool:
    """Leaves out what MLflow logs of an error that becomes an answer, which has its line; a bug gets its traceback."""
    error = sys.exc_info()[1]
    if not isinstance(error, MlflowException | sqlalchemy.exc.SQLAlchemyError):
        return True
    if isinstance(error, MlflowException) and is_bug(error):
        record.exc_info = (type(error), error, error.__traceback__)
        return True
    return False


def apply(flask_app: Flask) -> None:
    """Has all of MLflow's routes answer with these classes, and its log hold no second line of an answer."""
    replace(exceptions, "ERROR_CODE_TO_HTTP_STATUS", lambda statuses: statuses | STATUSES)
    for method in ("get_http_status_code", "serialize_as_json"):
        replace(MlflowException, method, _of_shown)
    sqlalchemy.event.listen(sqlalchemy.Engine, "handle_error", _hide_statement)
    flask_app.register_error_handler(MlflowException, _answer)
    for kind in ODD_VALUES:
        flask_app.register_error_handler(kind, lambda error: _answer(of_odd_value(error)))
    for name in ("mlflow.server.handlers", "mlflow.server.mlflow_response", "mlflow.store.db.utils"):
        logging.getLogger(name).addFilter(_one_line_each)


@handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
def _answer(error: MlflowException) -> Response:
    """Answers an error that a handler of MLflow's does not catch, as those do that catch theirs."""
    raise error
