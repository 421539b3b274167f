"""Dask's dashboard: pages that show the workers and their tasks, and that change nothing.

They ask nobody who they are. So a page of another site, which a browser shows beside them, must not read them: whatever
a browser sends for such a page is refused, by the ``Host`` that it names and by where it says that the request is from.

The scheduler loads what draws the pages (bokeh) at the first visit: nobody else waits for it, or needs the memory.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from distributed import Scheduler
from tornado import web
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule

from trainer.util.errors import InputError

#: Of Dask's pages those that show something of this cluster. The one of the hardware would start measurements on the
#: workers; those of exceptions, logs and call stacks may tell what belongs to who started a sweep.
PAGES = ("status", "workers", "tasks", "system")
PLOTS = (
    "individual-progress",
    "individual-workers-cpu-timeseries",
    "individual-workers-memory-timeseries",
    "individual-workers-network-timeseries",
)
#: How a browser on this machine names it.
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def refusal(request: HTTPServerRequest, names: Iterable[str]) -> str:
    """Return why a request is refused; an empty text where it is answered.

    Args:
        request: The request, of which only the method and the headers count.
        names: The names and addresses at which browsers reach the dashboard.
    """
    host = request.headers.get("Host", "").lower()
    if re.sub(r":\d+$", "", host) not in names:
        return f"the dashboard is not published as {host or 'a host without a name'} (DASHBOARD_HOST)"
    if request.method not in ("GET", "HEAD"):
        return "the dashboard shows, and changes nothing"
    origin = request.headers.get("Origin", "").lower()
    embedded = request.headers.get("Sec-Fetch-Dest") != "document"
    if origin not in ("", f"http://{host}", f"https://{host}") or (
        # A link in another site's page may lead here. What that page includes from here would tell it something.
        embedded and request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    ):
        return "the request comes from another site's page"
    return ""


@dataclass(frozen=True)
class Dashboard:
    """Where a scheduler shows the dashboard.

    Args:
        host: The address to listen at.
        port: The port; 0 for one that the system chooses.
        names: The names and addresses at which browsers reach it, beside those of this machine itself.
    """

    host: str
    port: int
    names: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Host and port, as Dask reads them."""
        return f"{self.host}:{self.port}"

    def check(self) -> None:
        """Look whether it can be listened there: Dask would choose another port.

        Raises:
            InputError: It cannot.
        """
        try:
            socket.create_server((self.host, self.port)).close()
        except OSError as error:
            reason = (error.strerror or str(error)).partition(" (while")[0]
            raise InputError(
                f"the dashboard cannot listen at {self.address}: {reason} (--dashboard-host, --dashboard-port)"
            ) from error

    def serve(self, scheduler: Scheduler) -> None:
        """Have a scheduler's HTTP server show the dashboard; it listens already, and has answered nothing."""
        application = scheduler.http_application
        application.add_handlers(".*", [("/", web.RedirectHandler, {"url": "/status", "permanent": False})])
        application.settings.update(default_handler_class=_FirstVisit, default_handler_args={"scheduler": scheduler})
        # Before every other rule.
        foreign = _Foreign({*_LOOPBACK, *(name.lower() for name in self.names)})
        application.default_router.rules.insert(0, Rule(foreign, _Refused))


class _Foreign(Matcher):
    """Matches what is refused."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        why = refusal(request, self._names)
        return {"target_kwargs": {"why": why}} if why else None


class _Refused(web.RequestHandler):
    def initialize(self, why: str) -> None:
        self._why = why

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._why}\n")


class _FirstVisit(web.RequestHandler):
    """Answers for a page as long as nobody has visited one."""

    def initialize(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def get(self) -> None:
        page = self.request.path.removeprefix("/")
        if page not in (*PAGES, *PLOTS):
            raise web.HTTPError(404)
        # In a thread: the scheduler goes on meanwhile.
        dask = await asyncio.to_thread(importlib.import_module, "distributed.dashboard.scheduler")
        # Another visitor may have come first.
        if self.application.settings.pop("default_handler_class", None):
            _add_pages(self._scheduler, dask.applications)
        self.redirect(f"/{page}")


def _add_pages(scheduler: Scheduler, applications: dict[str, Any]) -> None:
    from bokeh.server.tornado import BokehTornado
    from tornado.ioloop import IOLoop

    plots = [{"url": plot, "name": plot.removeprefix("individual-").replace("-", " ").capitalize()} for plot in PLOTS]
    menu = {"pages": PAGES, "plots": plots, "jupyter": False}
    shown = {f"/{page}": partial(_draw, applications[f"/{page}"], scheduler, menu) for page in (*PAGES, *PLOTS)}
    # Where websockets come from has been looked at.
    pages = BokehTornado(shown, use_index=False, absolute_url="", extra_websocket_origins=["*"])
    scheduler.http_application.add_application(pages)
    pages.initialize(IOLoop.current())
    pages.start()


def _draw(draw: Any, scheduler: Scheduler, menu: dict[str, Any], doc: Any) -> None:
    from bokeh.models import Plot, TapTool

    draw(scheduler, menu, doc)
    # They lead to pages that are not there.
    for plot in doc.select({"type": Plot}):
        plot.tools = [tool for tool in plot.tools if not isinstance(tool, TapTool)]
