"""Serves models that the trainer did not make, by MLflow's own scoring server, with errors in one shape."""

from __future__ import annotations

import json
import weakref
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from trainer.serving.asgi import HEADER, Application, Message, Receive, Scope, Send, send_reply
from trainer.serving.own_model import refusal

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

#: Where MLflow's messages go on with the whole request, or with its history.
_WORDY = ("\nInput:", " IMPORTANT: The MLflow Model scoring protocol")


def mlflow_application(model: PyFuncModel) -> Application:
    """Return MLflow's scoring server for a model."""
    from mlflow.pyfunc import scoring_server

    from trainer.serving.mlflow_requests import WithRows

    served: Any = WithRows(weakref.proxy(model))
    # Held by whoever has the model: FastAPI's caches keep an application's functions, and with them a model, for good.
    application = scoring_server.init(served)
    # Its only layer bounds the time of a request, which happens above at a fraction of the cost.
    application.user_middleware.clear()
    made: Application = application
    return made


async def passed_on(application: Application, scope: Scope, receive: Receive, send: Send) -> int:
    """Let an application answer; return the status."""
    status = 0

    async def note(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    await application(scope, receive, note)
    return status


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body that was read already."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def shaped(send: Send, uri: str) -> Send:
    """Return a ``send`` that adds which model answered, and gives errors their shape."""
    held: list[Message] = []

    async def shape(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (HEADER, uri.encode("latin-1", "replace"))]
            if message["status"] >= 400:
                message["body"] = b""
                held.append(message)
                return
        elif held:
            held[0]["body"] += message.get("body", b"")
            if not message.get("more_body", False):
                start = held[0]
                code, text = _error(start["status"], start["body"])
                await send_reply(send, refusal(start["status"], code, text), uri)
            return
        await send(message)

    return shape


def _error(status: int, body: bytes) -> tuple[str, str]:
    """Return an error's code and what is wrong, of what MLflow says: no traceback, none of the rows, no schema."""
    text = body.decode(errors="replace")
    code = HTTPStatus(status).phrase.upper().replace(" ", "_")
    try:
        content = json.loads(text)
    except ValueError:
        return code, text
    if "message" not in content:
        return code, f"{text}; the endpoints are POST /invocations, GET /ping and GET /version"
    message = str(content["message"])
    # "Failed to predict data '…'. \nError: Failed to enforce schema of data '…' with schema '…'. Error: <what>"
    message = message.rpartition("Error: ")[2] if message.startswith("Failed to") else message
    for rest in _WORDY:
        message = message.partition(rest)[0]
    return str(content.get("error_code") or code), message.strip()
