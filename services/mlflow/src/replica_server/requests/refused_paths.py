"""What is refused by its address alone, before anything of MLflow sees the request.

This is one place for all routes. MLflow's routes are spread over two web frameworks: one of them takes a name with an
empty part for another name, and neither refuses bytes that are no text.
"""

import re
from urllib.parse import unquote_to_bytes

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from starlette.types import ASGIApp, Receive, Scope, Send

from replica_server.artifacts import names, refused_deletion
from replica_server.requests import routes
from replica_server.requests.answers import refusal

ARTIFACTS = re.compile(routes.API + r"/mlflow-artifacts/(artifacts|presigned|mpu/\w+)/(.*)", re.DOTALL)


def _text(what: str, encoded: bytes) -> None:
    """Refuses an address, or a header, whose bytes are no text; raises MlflowException with status 400."""
    decoded = unquote_to_bytes(encoded)
    try:
        if b"\0" not in decoded:
            decoded.decode()
            return
    except UnicodeDecodeError:
        pass
    raise MlflowException.invalid_parameter_value(
        f"The request's {what} holds a NUL character, or bytes that are no UTF-8"
    )


def check(scope: Scope, extra: frozenset[str]) -> None:
    """Refuses a request by its address.

    Args:
        scope: The request's, as ASGI has it.
        extra: The groups of routes that are on.

    Raises:
        MlflowException: With status 400 or 403.
    """
    path = scope["path"]
    _text("path", scope["raw_path"])
    _text("query", scope["query_string"])
    for name, value in scope["headers"]:
        # The two that MLflow reads as text.
        if name in (b"host", b"origin"):
            _text(f"{name.decode()} header", value)
    if group := routes.off(scope["method"], path, extra):
        raise MlflowException(routes.refusal(group), error_code=PERMISSION_DENIED)
    if found := ARTIFACTS.fullmatch(path):
        if scope["method"] == "DELETE":
            raise refused_deletion.refusal()
        if scope["method"] != "OPTIONS":
            names.check(found[2])


class RefusedPaths:
    """The middleware that refuses, as an ASGI application around another one.

    Args:
        app: The other one.
        extra: The groups of routes that are on.
    """

    def __init__(self, app: ASGIApp, extra: frozenset[str]) -> None:
        self.app = app
        self.extra = extra

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] == "websocket" and routes.group(scope["path"]):
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] == "http":
            try:
                check(scope, self.extra)
            except MlflowException as error:
                await refusal(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)
