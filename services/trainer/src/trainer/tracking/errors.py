"""What MLflow's errors mean: a refusal, a server out of reach, something that does not exist."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trainer.util.errors import TrackingError, disk_full
from trainer.util.text import one_line

REFUSED, UNKNOWN_HOST = "connection refused", "the host name is not known"


@contextmanager
def tracking_errors() -> Iterator[None]:
    """Raise exceptions of MLflow's as the trainer's own; where MLflow has not been imported, there are none."""
    try:
        yield
    except Exception as error:
        mlflow = sys.modules.get("mlflow.exceptions")
        if mlflow is not None and isinstance(error, mlflow.MlflowException):
            raise tracking_error(error) from error
        raise


def tracking_error(error: Exception) -> TrackingError:
    """Return an exception that MLflow raised as the trainer's own, with a message of one line."""
    if isinstance(error, TrackingError):
        return error
    if (full := disk_full(error)) is not None:
        return TrackingError(full)
    if (refusal := refusal_of(error)) is not None:
        return TrackingError(f"the tracking server refuses: {refusal}")
    return TrackingError(f"tracking failed: {reason_of(error)}")


def refusal_of(error: Exception) -> str | None:
    """Return why the server refuses and what to do about it, or None where it does not refuse."""
    text, status = str(error), _status(error)
    if "invalid host header" in text.lower():
        return (
            "403 Invalid Host header; add this host name and port to the server's MLFLOW_SERVER_ALLOWED_HOSTS,"
            " or use a name it allows"
        )
    if status == 401:
        return "401, it asks for a login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or _TOKEN)"
    if status == 403:
        return f"403, this user may not use it; {reason_of(error)}"
    if status == 404 or "not in a valid JSON format" in text or "Response body: '<" in text:
        return "it does not answer as an MLflow server does; check the tracking URI"
    return None


def _status(error: Exception) -> int | None:
    """Return the HTTP status of the server's answer, or None where there was no answer."""
    import re

    if type(error).__name__ == "RestException":
        return int(error.get_http_status_code())  # type: ignore[attr-defined]
    if match := re.search(r"failed with error code (\d{3})", str(error)):
        return int(match[1])
    return None


def is_transient(error: Exception) -> bool:
    """Tell whether a request may have failed on the way: no answer, or one that says to come back."""
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    text = str(error)
    return "API request to" in text and (" failed with exception" in text or "timeout" in text)


def reason_of(error: Exception) -> str:
    """Return the heart of MLflow's message, which wraps three layers of exceptions into one text."""
    import re

    text = one_line(error, 2_000)
    for pattern, words in (
        (r"Connection refused", REFUSED),
        (
            r"Name or service not known|nodename nor servname|Temporary failure in name resolution|NameResolutionError",
            UNKNOWN_HOST,
        ),
        (r"No route to host|Network is unreachable", "the network does not reach it"),
        (r"timed? ?out", "it does not answer in time"),
        (r"RemoteDisconnected|Connection aborted|Connection reset", "it closes the connection"),
        (r"CERTIFICATE_VERIFY_FAILED", "its certificate cannot be verified; set MLFLOW_TRACKING_SERVER_CERT_PATH"),
        (r"too many (\d{3}) error responses", "it answers with server errors; the server's log says why"),
    ):
        if re.search(pattern, text, re.IGNORECASE):
            return words
    return one_line(text, 300)


def is_missing(error: Exception) -> bool:
    """Tell whether MLflow says that there is no such thing.

    For an alias that a registered model lacks, and for an id or a number that nothing can have, it says
    INVALID_PARAMETER_VALUE.
    """
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def already_exists(error: Exception) -> bool:
    """Tell whether MLflow refuses to create something because there is one of that name."""
    return getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS"
