"""Counts requests by route and status, and how long they take.

Plain numbers, which the event loop's thread alone changes, and which become metrics when someone asks for them: to find
a metric of the client library by its labels, and to lock it, costs a request more than all else here.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replica_server.monitoring.route_templates import RouteTemplates

METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
# The status of a request that got no answer, because its client went away.
NO_ANSWER = "none"
# Seconds. Most answers take milliseconds; a large artifact takes minutes.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


BOUNDS = (*map(str, map(float, BUCKETS)), "+Inf")
# What requests are counted by.
LABELS = ("method", "route", "status")


class RequestMetrics(Collector):
    """The application that counts, around another one.

    Args:
        app: The other one.
        templates: Those of its routes.
        registry: Where the metrics go.
    """

    def __init__(self, app: ASGIApp, templates: RouteTemplates, registry: CollectorRegistry) -> None:
        self.app = app
        self.templates = templates
        self._under_way = 0
        self._requests: dict[tuple[str, str, int], int] = {}
        # Of each route: how many requests are in each bucket, and the sum of their seconds.
        self._seconds: dict[str, list[float]] = {}
        registry.register(self)

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
        route = self.templates.of(path)
        kind = (method if method in METHODS else "other", route, status)
        requests = self._requests
        requests[kind] = requests.get(kind, 0) + 1
        times = self._seconds.get(route)
        if times is None:
            times = self._seconds[route] = [0] * (len(BOUNDS) + 1)
        times[bisect_left(BUCKETS, seconds)] += 1
        times[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics, in the thread of whoever asks."""
        requests = CounterMetricFamily("mlflow_http_requests", "Requests that are over.", labels=LABELS)
        # Copies, which no other thread interrupts.
        for (method, route, status), number in self._requests.copy().items():
            requests.add_metric((method, route, str(status) if status else NO_ANSWER), number)
        yield requests
        said = "How long a request takes, from its header to the end of its answer."
        family = HistogramMetricFamily("mlflow_http_request_seconds", said, labels=("route",))
        for route, times in self._seconds.copy().items():
            *numbers, total = times.copy()
            family.add_metric((route,), list(zip(BOUNDS, accumulate(numbers), strict=True)), total)
        yield family
        yield GaugeMetricFamily("mlflow_http_requests_under_way", "Requests that are not over.", self._under_way)
