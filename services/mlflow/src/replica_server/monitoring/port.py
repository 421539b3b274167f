"""The port on which the metrics are read, inside of the stack's networks: neither `edge` nor `proxy` passes it on."""

from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, make_wsgi_app

PORT = 9464


class Handler(WSGIRequestHandler):
    """One request at a time, each logged nowhere, and ended when its client is silent."""

    # Seconds. There is one thread: whoever opens many connections keeps others from the metrics and from nothing else.
    timeout = 5

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


class Server(WSGIServer):
    """A server whose clients may break off without a traceback in the log."""

    def handle_error(self, *_: Any) -> None:
        """Says nothing."""


def new_registry() -> CollectorRegistry:
    """Returns a registry with this process's memory, processor time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def open_port(registry: CollectorRegistry, port: int = PORT) -> WSGIServer:
    """Serves the metrics in a thread, which ends with the process."""
    server = make_server("0.0.0.0", port, make_wsgi_app(registry), Server, Handler)  # noqa: S104 - in a container
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
