"""Which of MLflow's routes a tracking stack needs, and which are off until a setting asks for them.

MLflow's server has routes for an LLM gateway, scorers, webhooks and more. Most of its security advisories of 2026 were
about these. What is off here cannot be attacked. A route that is in neither list fails a test (test_routes.py), so that
a new version of MLflow adds nothing unseen.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from replica_server.settings import EXTRA_ROUTES

API = r"/(?:ajax-)?api/[23]\.0"

#: What MLFLOW_EXTRA_ROUTES can ask for, each with the paths that belong to it.
OPTIONAL = {
    "gateway": (
        "/gateway",
        f"{API}/mlflow/gateway",
        f"{API}/mlflow/runs/create-promptlab-run",
    ),
    "mcp": (f"{API}/mlflow/mcp-servers",),
    "scorers": (f"{API}/mlflow/scorers", f"{API}/mlflow/scorer"),
    "webhooks": (f"{API}/mlflow/webhooks",),
}
#: What nothing asks for: programs that this image does not hold would have to run beside the server.
NEVER = {
    "assistant": (f"{API}/mlflow/assistant",),
    "jobs": (
        f"{API}/jobs",
        f"{API}/mlflow/jobs",
        f"{API}/mlflow/issues/invoke",
        f"{API}/mlflow/genai/evaluate/invoke",
        f"{API}/mlflow/prompt-optimization",
    ),
    "workspaces": (f"{API}/mlflow/workspaces",),
}
#: What MLflow's UI reads on pages of other features, whatever is on; it takes a refusal for an error.
READ_BY_THE_UI = (f"{API}/mlflow/assistant/config", f"{API}/mlflow/assistant/providers", f"{API}/mlflow/scorers/list")
#: What a tracking stack needs.
KEPT = (
    "/",
    "/build",
    "/get-artifact",
    "/graphql",
    "/health",
    "/model-versions/get-artifact",
    "/static-files",
    "/v1/traces",
    "/version",
    f"{API}/mlflow-artifacts",
    *(
        f"{API}/mlflow/{resource}"
        for resource in (
            "artifacts",
            "datasets",
            "demo",
            "experiments",
            # The UI asks for it, and gets an empty list.
            "gateway-proxy",
            "get-online-trace-details",
            "get-trace-artifact",
            "issues",
            "label-schemas",
            "logged-models",
            "metrics",
            "model-versions",
            "registered-models",
            "review-queues",
            "runs",
            "server-info",
            "traces",
            "ui-telemetry",
            "unified-traces",
            "upload-artifact",
        )
    ),
    # MLflow lacks a slash there.
    r"/(?:ajax-)?api/2\.0mlflow/experiments",
)


def _expression(paths: Iterable[str]) -> re.Pattern[str]:
    """Returns what matches these paths, and everything below each but the root."""
    return re.compile("|".join(f"{path}(?:/.*)?" if path != "/" else path for path in paths), re.DOTALL)


_GROUPS = {name: _expression(paths) for name, paths in (OPTIONAL | NEVER).items()}
_KEPT = _expression(KEPT)
_READ = re.compile("|".join(READ_BY_THE_UI))


def group(path: str) -> str | None:
    """Returns the group that a path is in; empty when a tracking stack needs it, None when it is in neither list."""
    for name, expression in _GROUPS.items():
        if expression.fullmatch(path):
            return name
    return "" if _KEPT.fullmatch(path) else None


def off(method: str, path: str, extra: frozenset[str]) -> str:
    """Returns the group that a request is refused for; empty when it is not.

    Args:
        method: The request's.
        path: The request's, decoded.
        extra: The groups that are on.
    """
    name = group(path)
    if not name or name in extra or (method == "GET" and _READ.fullmatch(path)):
        return ""
    return name


def refusal(name: str) -> str:
    """Returns why a group's routes are refused, in one line."""
    if name in OPTIONAL:
        return f"This server's routes for {name} are off: {EXTRA_ROUTES}={name} turns them on"
    return f"This server has no {name}: MLflow's routes for that are refused"


def methods(fastapi_app: Any, flask_app: Any) -> Iterator[tuple[str, str]]:
    """Yields each method and path of an application's routes, with placeholders; HEAD and OPTIONS are left out."""
    found = [(rule.methods, rule.rule) for rule in flask_app.url_map.iter_rules()]
    for route in fastapi_app.routes:
        if included := getattr(route, "original_router", None):
            prefix = route.include_context.prefix
            found += [(getattr(inner, "methods", None) or {"GET"}, prefix + inner.path) for inner in included.routes]
        elif getattr(route, "path", ""):
            found.append((getattr(route, "methods", None) or {"GET"}, route.path))
    for names, path in found:
        yield from ((name, path) for name in sorted(names - {"HEAD", "OPTIONS"}))


def paths(fastapi_app: Any, flask_app: Any) -> Iterator[str]:
    """Yields the paths of an application's routes, with their placeholders."""
    yield from (path for _, path in methods(fastapi_app, flask_app))
