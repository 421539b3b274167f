"""Which HTTP status an error is answered with.

MLflow's clients repeat a request that is answered with 5xx for minutes, and do not show what the answer says. So a
fault of the request is a 4xx, a temporary error (database, storage) is a 503, and what is left is a fault of the
server: a 500 with its traceback in the log. No message shows SQL.
"""

import traceback
from http import HTTPStatus

import sqlalchemy
from mlflow.exceptions import MlflowException, MlflowTracingException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    NOT_FOUND,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError

from replica_server.text import one_line

# What Python raises at a value that cannot be used. Programming errors are mostly of other kinds; the answer names the
# function in case that it is one after all.
ODD_VALUES = (ValueError, OverflowError, RecursionError)
# What PostgreSQL says of a request that is too large for it, where it would say the same again.
TOO_LARGE = "54"


def said(error: StatementError) -> str:
    """Returns what the database has said, without hints and the place in the statement."""
    return one_line(getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig))


def of_database(error: DBAPIError) -> MlflowException | None:
    """Returns the answer to a request that the database has refused or failed; None when it is the server's fault."""
    words = said(error)
    too_large = str(getattr(error.orig, "pgcode", None) or "").startswith(TOO_LARGE)
    if isinstance(error, DataError | IntegrityError) or too_large:
        return MlflowException(f"The database refuses a value: {words}", error_code=INVALID_PARAMETER_VALUE)
    if isinstance(error, OperationalError | InterfaceError):
        return MlflowException(f"The database fails: {words}", error_code=TEMPORARILY_UNAVAILABLE)
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
    status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
    return shown(error) is error and error.__cause__ is not None and status == HTTPStatus.INTERNAL_SERVER_ERROR
