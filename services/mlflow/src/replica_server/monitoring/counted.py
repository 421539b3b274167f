"""Counts requests by route and status, and how long they take."""

import time
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replica_server.monitoring.templates import Templates

METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
# The status of a request that got no answer, because its client went away.
NO_ANSWER = "none"
# Seconds. Most answers take milliseconds; a large artifact takes minutes.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Kind(NamedTuple):
    """What requests are counted by."""

    method: str
    route: str
    status: str


class Counted:
    """The application that counts, around another one.

    Args:
        app: The other one.
        templates: Those of its routes.
        registry: Where the metrics go.
    """

    def __init__(self, app: ASGIApp, templates: Templates, registry: CollectorRegistry) -> None:
        self.app = app
        self.templates = templates
        labels = Kind._fields
        self._requests = Counter("mlflow_http_requests", "Requests that are over.", labels, registry=registry)
        self._seconds = Histogram(
            "mlflow_http_request_seconds",
            "How long a request takes, from its header to the end of its answer.",
            ("route",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._under_way = 0
        under_way = Gauge("mlflow_http_requests_under_way", "Requests that are not over.", registry=registry)
        under_way.set_function(lambda: self._under_way)
        # To find a metric by its labels costs as much as the rest together.
        self._of_kind: dict[Kind, tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, and counts it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._under_way += 1
        begin = time.perf_counter()
        try:
            await self.app(scope, receive, note)
        finally:
            self._under_way -= 1
            self._count(scope["method"], scope["path"], status, time.perf_counter() - begin)

    def _count(self, method: str, path: str, status: int, seconds: float) -> None:
        method = method if method in METHODS else "other"
        kind = Kind(method, self.templates.of(path), str(status) if status else NO_ANSWER)
        metrics = self._of_kind.get(kind)
        if metrics is None:
            metrics = self._of_kind[kind] = (self._requests.labels(*kind), self._seconds.labels(kind.route))
        metrics[0].inc()
        metrics[1].observe(seconds)
