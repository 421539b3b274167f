"""Refuses a body that MLflow cannot read as JSON, or whose content PostgreSQL cannot keep."""

import json
import re
from http import HTTPStatus
from typing import Any

from replica_server import limits

STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
# An integer of more digits is beyond every floating-point number.
MOST_DIGITS = 308


class RefusedError(Exception):
    """The body is refused.

    Args:
        status: The answer's.
        message: Why, in one line.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def _no(what: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, f"The body {what}")


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise _no("holds a number that is too large")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _no("holds a number that is too large")
    return value


def _constant(name: str) -> Any:
    raise _no(f'holds {name}, which is no JSON: a metric\'s value can be the text "{name}"')


def check_json(body: bytes) -> None:
    """Raises RefusedError when MLflow cannot read a body as JSON, or PostgreSQL cannot keep what is in it."""
    if not body.strip():
        return
    if sum(map(body.count, (b",", b"[", b"{"))) > limits.MOST_VALUES:
        outside = STRINGS.sub(b"", body)
        if sum(map(outside.count, (b",", b"[", b"{"))) > limits.MOST_VALUES:
            message = f"The body holds more than {limits.MOST_VALUES:,} values: send it in several requests"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    value = _parsed(body)
    # Clients of old send JSON in JSON's string, and MLflow reads it.
    if isinstance(value, str):
        value = _parsed(value.encode())
    if value is not None and not isinstance(value, dict):
        raise _no("has to be a JSON object")
    if body.count(b"[") + body.count(b"{") > limits.DEEPEST:
        _check_depth(value)
    if b"\\u0000" in body or b"\\ud" in body.lower():
        _check_texts(value)


def _parsed(text: bytes) -> Any:
    try:
        # Not by json.loads, which takes other encodings too, and half of a character.
        return json.loads(text.decode("utf-8-sig"), parse_int=_integer, parse_float=_number, parse_constant=_constant)
    except RecursionError:
        raise _no(f"is nested deeper than {limits.DEEPEST} levels") from None
    except UnicodeDecodeError:
        raise _no("is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise _no(f"is no JSON: {error}") from None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(limits.DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise _no(f"is nested deeper than {limits.DEEPEST} levels")


def _check_texts(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str):
            _check_text(item)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _no("holds the character NUL, which the database cannot keep")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _no("holds half of a character (a lone surrogate)") from None
