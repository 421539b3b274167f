"""ASGI's types, and an answer as its messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from trainer.serving.own_model import Reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Says which model answered.
HEADER = b"x-model-uri"


async def send_reply(send: Send, reply: Reply, uri: str = "") -> int:
    """Send an answer, and which model it is from; return its status."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply.body))]
    if uri:
        headers.append((HEADER, uri.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
    return reply.status
