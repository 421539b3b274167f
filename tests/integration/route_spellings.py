"""Requests that name a route in other words than the table of roles, and how to send them as they are."""

from __future__ import annotations

import http.client
import json
import ssl
from urllib.parse import urlsplit

CREATE = "/api/2.0/mlflow/runs/create"
BODY = json.dumps({"experiment_id": "0"})
TARGETS = (
    f"{CREATE}/",
    f"{CREATE}//",
    f"{CREATE}/.",
    f"{CREATE};x=1",
    f"{CREATE}%20",
    f"{CREATE}%00",
    f"{CREATE}%0a",
    f"{CREATE}%3f",
    f"/{CREATE}",
    f"/.{CREATE}",
    f"http://mlflow:5000{CREATE}",
    "/%61pi/2.0/mlflow/runs/create",
    "/API/2.0/mlflow/runs/create",
    "/api//2.0/mlflow/runs/create",
    "/api/2.0/mlflow//runs/create",
    "/api/2.0/mlflow/x/../runs/create",
    "/api/2.0mlflow/runs/create",
    "/api/3.0/mlflow/runs/create",
    "/ajax-api/2.0/mlflow/runs/create",
    "/api%2f2.0%2fmlflow%2fruns%2fcreate",
    "/api\\2.0\\mlflow\\runs\\create",
    *(
        f"{begin}/{up}{CREATE}"
        for begin in ("/health", "/version", "/ping", "/oauth2/start", "/static-files", "/people/me")
        for up in ("..", "%2e%2e", "..%2f..", ".;")
    ),
)
OVERRIDES: tuple[dict[str, str], ...] = (
    {"X-HTTP-Method-Override": "POST"},
    {"X-HTTP-Method": "POST"},
    {"X-Method-Override": "POST"},
    {"X-Original-URL": CREATE, "X-Rewrite-URL": CREATE},
    {"X-Forwarded-Prefix": "/api", "X-Script-Name": "/api"},
    {"Connection": "Upgrade", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
    {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    },
)


def requests() -> list[tuple[str, str, dict[str, str]]]:
    """Returns each request's method, target and headers."""
    found: list[tuple[str, str, dict[str, str]]] = [("POST", target, {}) for target in TARGETS]
    found += [(method, CREATE, headers) for headers in OVERRIDES for method in ("GET", "HEAD", "OPTIONS")]
    found += [(method, CREATE, {}) for method in ("post", "PATCH", "PUT", "TRACE", "CONNECT", "PROPFIND", "GET")]
    # A list that the user's role may read, and a word that would make it more.
    found += [("GET", f"{CREATE}?_method=POST", {}), ("POST", "/api/2.0/mlflow/runs/search/../create", {})]
    return found


def send(url: str, authority: str, method: str, target: str, headers: dict[str, str]) -> int:
    """Returns the answer's status to a request whose target is sent as it is."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=authority)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, target, BODY, {"Content-Type": "application/json", **headers})
        return connection.getresponse().status
    except http.client.HTTPException:
        # It has closed the connection.
        return 0
    finally:
        connection.close()
