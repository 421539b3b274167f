"""The routes of MLflow's application, as it is installed here in the server's version."""

from __future__ import annotations

import re

from replica_server.requests import routes

PLACEHOLDER = re.compile(r"<[^>]+>|\{[^}]+\}")


def all_routes() -> list[tuple[str, str]]:
    """Returns each method and path, with x in the placeholders' places."""
    # MLflow looks whether uvicorn is there, to see that it is a server.
    import uvicorn  # noqa: F401
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app

    return sorted({(method, PLACEHOLDER.sub("x", path)) for method, path in routes.methods(app, flask_app)})
