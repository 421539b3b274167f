"""What a storage's error is answered with: its 4xx is the client's, its 5xx a 503, at which the client tries again."""

from http import HTTPStatus

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_CONFLICT,
    RESOURCE_EXHAUSTED,
    TEMPORARILY_UNAVAILABLE,
)

# The statuses that have a code of MLflow's.
CODES = {
    HTTPStatus.UNAUTHORIZED: PERMISSION_DENIED,
    HTTPStatus.FORBIDDEN: PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.CONFLICT: RESOURCE_CONFLICT,
    HTTPStatus.PRECONDITION_FAILED: RESOURCE_CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS: RESOURCE_EXHAUSTED,
}


def answer(status: int, said: str) -> MlflowException:
    """Returns the answer to a request that the storage has refused or failed.

    Args:
        status: The storage's HTTP status.
        said: Its words, in one line.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return MlflowException(f"The artifacts' storage fails: {said}", error_code=TEMPORARILY_UNAVAILABLE)
    code = CODES.get(HTTPStatus(status), BAD_REQUEST) if status in set(HTTPStatus) else BAD_REQUEST
    return MlflowException(f"The artifacts' storage refuses: {said}", error_code=code)


def unavailable(said: str) -> MlflowException:
    """Returns the answer to a request that a later attempt may get through: MLflow's client repeats it."""
    return MlflowException(said, error_code=TEMPORARILY_UNAVAILABLE)
