"""One line in the log for each answer that fails, and answers in MLflow's form."""

import json
import sys
from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from mlflow.exceptions import MlflowException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replica_server.text import printable

# What MLflow tells browsers in each answer: not to guess its type, and not to show it inside another site's page.
SECURITY_HEADERS = {"x-content-type-options": "nosniff", "x-frame-options": "SAMEORIGIN"}
# Answers that a client asks for in the normal course of things are not logged.
USUAL = ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS")
#: Called with the status of the answer that MLflow begins, also where its client has gone. None: nobody asks for it.
on_status: ContextVar[Callable[[int], None] | None] = ContextVar("on_status", default=None)


def refusal(error: MlflowException) -> JSONResponse:
    """Returns the answer to a request that is refused with an error of MLflow's."""
    content: Any = json.loads(error.serialize_as_json())  # type: ignore[no-untyped-call]
    return JSONResponse(content, error.get_http_status_code(), SECURITY_HEADERS)  # type: ignore[no-untyped-call]


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
