"""The port that tells Prometheus what was served, by all processes together, whichever of them is asked."""

from __future__ import annotations

import select
import shutil
import socket
import tempfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from trainer.serving.counts import COUNTERS, GAUGES, HISTOGRAMS, Counts, Totals, total

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "trainer_serving_"
#: Seconds that a client may be silent. One is answered at a time: slow ones keep others from the metrics, and no more.
_PATIENCE = 5


class Exposition:
    """A port for the metrics, and the folder in which the processes keep what they count."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="trainer-counts-"))

    def __enter__(self) -> Exposition:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def counts(self, number: int) -> Counts:
        """Return what the process of this number counts with."""
        return Counts(self._folder / f"{number}.json")

    def start(self) -> None:
        """Answer in a thread of this process, which ends with it."""
        self._listener.listen(16)
        Thread(target=self._serve, name="metrics", daemon=True).start()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from families(total(self._folder.glob("*.json")))

    def _serve(self) -> None:
        # Until someone asks, nothing of this takes any memory.
        select.select([self._listener], [], [])
        from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

        from prometheus_client import CollectorRegistry, make_wsgi_app

        class Handler(WSGIRequestHandler):
            timeout = _PATIENCE

            def log_message(self, *_: Any) -> None:
                pass

        class Server(WSGIServer):
            def handle_error(self, *_: Any) -> None:
                pass

        registry = CollectorRegistry()
        registry.register(self)
        server = Server(("", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self._listener
        server.server_name, server.server_port = "serving", self.port
        server.setup_environ()
        server.set_app(make_wsgi_app(registry))
        server.serve_forever()


def families(totals: Totals) -> Iterator[Metric]:
    """Yield the metrics of what was counted, in the form of Prometheus's client library."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for kind, described, numbers in (
        (CounterMetricFamily, COUNTERS, totals.counters),
        (GaugeMetricFamily, GAUGES, totals.gauges),
    ):
        for name, (labels, text) in described.items():
            family = kind(PREFIX + name, text, labels=labels)
            for key, number in numbers.items():
                if key[0] == name:
                    family.add_metric(key[1:], number)
            yield family
    for name, (labels, text, bounds) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(PREFIX + name, text, labels=labels)
        for key, counted in totals.histograms.items():
            if key[0] == name:
                places = [*map(str, bounds), "+Inf"]
                buckets = list(zip(places, accumulate(counted[:-1]), strict=True))
                histogram.add_metric(key[1:], buckets, counted[-1])
        yield histogram
