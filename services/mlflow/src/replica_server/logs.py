"""Writes one line to the log where an answer breaks off, in place of uvicorn's traceback."""

import logging


def shorten_broken_answers() -> None:
    """Makes one line of an answer that breaks off because database or storage fails: uvicorn's is a traceback."""
    logging.getLogger("uvicorn.error").addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    from mlflow.exceptions import MlflowException

    error = record.exc_info[1] if record.exc_info else None
    found = error.subgroup(MlflowException) if isinstance(error, BaseExceptionGroup) else error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if isinstance(found, MlflowException):
        said = " ".join(found.message.split())[:300]
        record.msg, record.args, record.exc_info = f"error: an answer broke off: {said}", (), None
    return True
