"""The cluster's dashboard: on loopback it shows the workers, to browsers of this machine, and changes nothing."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from bokeh.client import pull_session
from playwright.sync_api import Browser, expect

from .browser import visit
from .container_memory import MIB, held
from .stack import Stack, published_port

if TYPE_CHECKING:
    from docker.models.containers import Container

# Milliseconds until a page has to show what is expected of it: a bound for a busy machine, not a promise.
expect.set_options(timeout=20_000)
#: The headers that a foreign page's request would have, by name.
FOREIGN = {"rebound": {"Host": "evil.example"}, "foreign": {"Origin": "http://evil.example"}}
#: What makes a websocket of a request.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "bokeh, e30",
}


@pytest.fixture(scope="module")
def port(cluster: dict[str, Container]) -> int:
    """The dashboard's port on this machine."""
    return published_port(cluster["dashboard-edge"], 5000)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> int:
    """Returns an answer's status."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status


def test_websocket_shows_every_worker(stack: Stack, cluster: dict[str, Container], port: int) -> None:
    """In the memory that an idle scheduler may have, with the pages open."""
    workers = stack.containers("com.docker.compose.service=worker", "com.docker.compose.oneoff=False")
    assert ask(port, "/workers") in (200, 302)
    with (
        closing(pull_session(url=f"http://127.0.0.1:{port}/workers")) as table,
        closing(pull_session(url=f"http://127.0.0.1:{port}/status")) as status,
    ):
        shown = str(table.document.to_json())
        assert [str(one.id)[:12] in shown for one in workers] == [True, True]
        assert status.document.title == "Dask: Status"
        assert held(cluster["scheduler"]) <= 120 * MIB


def test_foreign_pages_are_refused(port: int) -> None:
    assert ask(port, "/status/ws", **UPGRADE, Origin=f"http://127.0.0.1:{port}") == 101
    for name, headers in FOREIGN.items():
        assert ask(port, "/status", **headers) == 403, name
        assert ask(port, "/status/ws", **UPGRADE, **headers) == 403, name


def test_no_route_changes_anything(port: int) -> None:
    """Nor leads to a worker, or has logs."""
    assert ask(port, "/api/v1/retire_workers", "POST") == 403
    for path in ("api/v1/retire_workers", "proxy/8787/127.0.0.1/status", "hardware", "info/main/logs.html"):
        assert ask(port, f"/{path}") == 404, path


def test_no_other_address_has_it(stack: Stack, port: int) -> None:
    """Docker's own bridge has an address of this machine that is not loopback."""
    config = stack.docker.networks.get("bridge").attrs["IPAM"]["Config"]
    address = next(one["Gateway"] for one in config if "." in one.get("Gateway", ""))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, port), timeout=10)


def test_browser_draws_the_pages(browser: Browser, outside: tuple[str, list[str]], port: int) -> None:
    """Nothing is fetched from elsewhere, and nothing fails."""
    with visit(browser, f"http://127.0.0.1:{port}", outside[0]) as made:
        # To Chromium, what is fetched for it comes from no local address, so that no websocket may lead to one.
        made.page.context.unroute_all()
        made.page.goto(f"{made.origin}/")
        expect(made.page).to_have_title("Dask: Status")
        expect(made.page.locator("canvas").first).to_be_visible()
        made.page.get_by_role("link", name="Workers", exact=True).click()
        expect(made.page).to_have_title("Dask: Workers")
        expect(made.page.get_by_text("Total (2)").first).to_be_visible()
        assert made.problems == []
    assert outside[1] == [], "asked of the internet"
