"""A headless Chromium that sees the stack and nothing else, and keeps what went wrong on the way."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FloatRect, Page, Request, Response, Route, sync_playwright

# The window, in pixels.
WIDTH, HEIGHT = 1200, 780
# What the UI keeps about its user: the panel of the assistant stays closed, and runs are those of model training.
USER = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.workflowType_v1": '"machine_learning"',
}
# The UI asks who is logged in; without a login there is no such address, and the UI takes that as its answer.
EXPECTED_REFUSALS = ("/ajax-api/2.0/mlflow/users/current",)
# What a browser says when a layout takes two frames; nothing is lost.
HARMLESS = "ResizeObserver loop completed with undelivered notifications"
# Chromium itself asks this host about the fields of forms, whatever the page.
BROWSERS_OWN = ("content-autofill.googleapis.com:443",)
# A port at which nothing answers: for what Chromium wants by itself, beside any page.
NOWHERE = "http://127.0.0.1:9"
# Not in the screenshots: the assistant's button, a chart's toolbar, and a tooltip where the mouse rests.
SCREENSHOT_STYLE = "[role=tooltip], [data-assistant-ui], .modebar { visibility: hidden !important }"


class _Refuse(BaseHTTPRequestHandler):
    """Notes the address that was asked for, and refuses."""

    def _note(self) -> None:
        if self.path not in BROWSERS_OWN:
            self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_error(502)

    do_GET = do_POST = do_CONNECT = _note  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Keeps quiet: the addresses are in the list."""


@contextmanager
def recording_proxy() -> Iterator[tuple[str, list[str]]]:
    """Yields the address of a proxy that refuses everything, and the list of what it was asked for.

    It stands for the internet: whatever part of a page, a worker too, wants another host than the stack's comes here.
    """
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Refuse) as server:
        server.daemon_threads = True
        asked: list[str] = []
        server.asked = asked  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """Yields a headless browser."""
    with sync_playwright() as playwright:
        # Without its own sandbox: the tests may run as root, and the pages are the stack's.
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
            proxy={"server": NOWHERE},
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A new user's visit to the UI: an empty profile, one page."""

    page: Page
    origin: str
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Collects refused and failed requests, errors on the console, exceptions, and requests to other origins."""
        self.page.context.route("**/*", self._answer)
        self.page.on("response", self._on_response)
        self.page.on("requestfailed", self._on_failed)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))

    def _answer(self, route: Route) -> None:
        """Fetches for the page: Chromium drops its connections whenever a container starts on this host."""
        if not route.request.url.startswith(self.origin):
            self.problems.append(f"leaves the stack: {route.request.url}")
            route.abort()
            return
        route.fulfill(response=route.fetch(max_redirects=0, timeout=240_000))

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and not response.url.endswith(EXPECTED_REFUSALS):
            self.problems.append(f"{response.status}: {response.url}")

    def _on_failed(self, request: Request) -> None:
        # A page that is left gives up what it no longer needs.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"{request.failure}: {request.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        expected = message.location["url"].endswith(EXPECTED_REFUSALS) or HARMLESS in message.text
        if message.type == "error" and not expected:
            self.problems.append(f"console: {message.text}")

    def open(self, place: str) -> None:
        """Opens a place in the UI, which is what comes after # in its address."""
        self.page.goto(f"{self.origin}/#/{place}")

    def screenshot(self, file: Path, height: int = HEIGHT) -> None:
        """Saves the upper part of what is seen as a PNG with a palette, which takes a third of the space."""
        clip: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": height}
        self.page.screenshot(path=file, style=SCREENSHOT_STYLE, animations="disabled", clip=clip)
        with Image.open(file) as image:
            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


@contextmanager
def visit(browser: Browser, origin: str, proxy: str, login: tuple[str, str] | None = None) -> Iterator[Visit]:
    """Yields a visit by a user who was never here before, to whom every other host is the proxy.

    Whoever has a login (name and password) enters it when asked, and trusts any certificate.
    """
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        locale="en-GB",
        timezone_id="UTC",
        proxy={"server": proxy, "bypass": "127.0.0.1,localhost"},
        http_credentials={"username": login[0], "password": login[1]} if login else None,
        ignore_https_errors=login is not None,
    )
    for name, value in USER.items():
        context.add_init_script(f"localStorage.setItem({name!r}, {value!r})")
    context.set_default_timeout(20_000)
    made = Visit(context.new_page(), origin)
    made.watch()
    try:
        yield made
    finally:
        context.unroute_all(behavior="ignoreErrors")
        context.close()
