"""The scheduler's dashboard: what it shows, whom it refuses, and what nobody pays who does not look at it."""

from __future__ import annotations

import http.client
import importlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bokeh.client import pull_session
from bokeh.models import OpenURL
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from trainer.parallel.cluster.dashboard import PAGES, PLOTS, Dashboard, refusal
from trainer.util.errors import InputError

from .. import programs
from ..conftest import free_port
from .cluster_processes import LocalCluster, local_cluster

HOST = "127.0.0.1:8787"
#: What makes a page's websocket of a request.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
#: What Dask's scheduler may serve elsewhere: changes, measurements, other machines' pages, logs, and more.
ABSENT = (
    *("api/v1/retire_workers", "api/v1/adaptive_target", "proxy/8787/127.0.0.1/status", "hardware", "profile"),
    *("info/main/workers.html", "info/main/logs.html", "info/call-stacks/x.html", "json/identity.json", "metrics"),
    *("exceptions", "individual-exceptions", "events", "eventstream", "individual-profile"),
)


def request(method: str = "GET", **headers: str) -> HTTPServerRequest:
    """Return a request for a page, with these headers."""
    named = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()})
    return HTTPServerRequest(start_line=RequestStartLine(method, "/status", "HTTP/1.1"), headers=named)


def why(method: str = "GET", **headers: str) -> str:
    """Return why such a request to this machine is refused."""
    return refusal(request(method, **({"Host": HOST} | headers)), {"127.0.0.1", "localhost", "[::1]"})


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost:8787", "LOCALHOST", "[::1]:9000"])
def test_this_machine_is_answered(host: str) -> None:
    assert why(Host=host) == ""
    assert why(Host=host, Origin=f"http://{host}") == ""
    assert why(Host=host, Sec_Fetch_Site="same-origin", Sec_Fetch_Dest="websocket") == ""


FOREIGN = ["evil.example", "127.0.0.1.evil.example:8787", "localhost.evil.example", "evil.example:127.0.0.1", "", "::1"]


@pytest.mark.parametrize("host", FOREIGN)
def test_other_hosts_are_refused(host: str) -> None:
    """A name that somebody else leads to this machine: the page that a browser shows for it is not the dashboard."""
    assert "the dashboard is not published as" in why(Host=host)


ORIGINS = ["http://evil.example", "null", "http://127.0.0.1:5000", "http://127.0.0.1:8787.evil.example", "file://"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_other_origins_are_refused(origin: str) -> None:
    assert why(Origin=origin) == "the request comes from another site's page"


def test_link_elsewhere_may_lead_here() -> None:
    """What another page includes from here is refused, such as a script or an image."""
    assert why(Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document") == ""
    for kind in ("script", "image", "iframe", "websocket"):
        assert why(Sec_Fetch_Site="cross-site", Sec_Fetch_Dest=kind) == "the request comes from another site's page"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_changing_methods_are_refused(method: str) -> None:
    assert why(method) == "the dashboard shows, and changes nothing"


def test_port_in_use_is_one_line() -> None:
    """Dask would take another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=f"the dashboard cannot listen at 127.0.0.1:{port}: Address already in use"
        ):
            Dashboard("127.0.0.1", port).check()


# With a scheduler -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[LocalCluster]:
    """Return a cluster of a worker, whose scheduler shows the dashboard."""
    options = ("--dashboard-port", str(port), "--dashboard-name", "Replica.Example")
    with local_cluster(tmp_path_factory.mktemp("cluster"), 1, options) as cluster:
        yield cluster


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Return an answer's status, and its text or where it leads."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, f"/{path}", headers=named)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location") or ("" if answer.status == 101 else answer.read().decode())


@pytest.mark.process
@pytest.mark.parametrize("page", [*PAGES, *PLOTS])
def test_pages_show_this_cluster(cluster: LocalCluster, port: int, page: str) -> None:
    """By their websocket; nothing on them leads to a page that is not there, or is fetched from another machine."""
    status, text = ask(port, page)
    if status == 302:
        # The first visit.
        assert text == f"/{page}"
        status, text = ask(port, page)
    assert status == 200
    for attribute in ("src=", 'link rel="stylesheet" href='):
        places = [part.split('"')[0] for part in text.split(f'{attribute}"')[1:]]
        assert not [place for place in places if "//" in place]
    with closing(pull_session(url=f"http://127.0.0.1:{port}/{page}")) as session:
        assert session.document.roots
        assert not list(session.document.select({"type": OpenURL}))
        if page == "workers":
            assert f"-{cluster.processes[-1].pid}" in str(session.document.to_json())


@pytest.mark.process
def test_pages_show_tasks_and_no_login(cluster: LocalCluster, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what travels with a task they have its name alone."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mlr_alices-own")
    tasks = importlib.import_module("engine_tasks")
    ask(port, "status")
    with (
        closing(pull_session(url=f"http://127.0.0.1:{port}/tasks")),
        closing(cluster.pool()) as pool,
        closing(pool.map(tasks.login, range(3))) as outcomes,
    ):
        assert [one.answer for one in outcomes] == [["mlr_alices-own", None, None]] * 3
        texts = {}
        for page in (*PAGES, *PLOTS):
            with closing(pull_session(url=f"http://127.0.0.1:{port}/{page}")) as session:
                texts[page] = str(session.document.to_json())
    assert "'trainer'" in texts["tasks"]
    assert not [page for page, text in texts.items() if "alices-own" in text]


@pytest.mark.process
def test_nothing_else_is_served(cluster: LocalCluster, port: int) -> None:
    """Neither before nor after the first visit: nothing that changes or measures, no logs, no way to the workers."""
    ask(port, "status")
    assert {path: ask(port, path)[0] for path in ABSENT} == dict.fromkeys(ABSENT, 404)
    paths = json.loads(ask(port, "sitemap.json")[1])["paths"]
    assert {path for path in paths if not path.startswith("/statics/")} == {
        *("/", "/sitemap.json"),
        *(f"/{page}" for page in (*PAGES, *PLOTS)),
    }


@pytest.mark.process
def test_refusals_hold_for_every_route(cluster: LocalCluster, port: int) -> None:
    ask(port, "status")
    for path in (
        "",
        "status",
        "status/ws",
        "statics/css/base.css",
        "static/js/bokeh.min.js",
        "sitemap.json",
        "nowhere",
    ):
        assert ask(port, path, Host="evil.example")[0] == 403, path
        assert ask(port, path, Origin="http://evil.example")[0] == 403, path
        assert ask(port, path, "POST")[0] == 403, path


@pytest.mark.process
def test_websocket_of_another_site_is_refused(cluster: LocalCluster, port: int) -> None:
    ask(port, "status")
    asked: Any = UPGRADE | {"Sec-WebSocket-Protocol": "bokeh, e30"}
    assert ask(port, "status/ws", Origin=f"http://127.0.0.1:{port}", **asked)[0] == 101
    assert ask(port, "status/ws", Origin="http://evil.example", **asked)[0] == 403
    rebound = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
    assert ask(port, "status/ws", **rebound, **asked)[0] == 403


@pytest.mark.process
def test_setting_names_a_further_host(cluster: LocalCluster, port: int) -> None:
    assert ask(port, "", Host=f"replica.example:{port}") == (302, "/status")


@pytest.mark.process
def test_scheduler_loads_the_pages_when_visited(tmp_path: Path) -> None:
    """Who does not look at them does not wait for it, and needs no memory for it."""
    port = free_port()
    with local_cluster(tmp_path, 0, ("--dashboard-port", str(port))) as cluster:

        def memory() -> int:
            """Return its own memory in KiB."""
            status = Path(f"/proc/{cluster.scheduler.pid}/status").read_text()
            return int(status.split("RssAnon:")[1].split()[0])

        assert ask(port, "nowhere")[0] == 404
        before = memory()
        assert ask(port, "status")[0] == 302
        assert memory() > before + 5000


@pytest.mark.process
def test_nobody_else_imports_the_pages() -> None:
    """Neither the command, nor a client, nor a worker with what it imports before its first task."""
    code = """
import importlib, sys
from trainer.sweeps.sweep import sweep_preload
parts = ("trainer.cli.main", "trainer.parallel.cluster.remote_pool", "trainer.parallel.cluster.working")
for name in (*parts, "trainer.parallel.cluster.scheduling", *sweep_preload(served=True)):
    importlib.import_module(name)
print([name for name in sys.modules if name.split(".")[0] == "bokeh"])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.process
def test_no_dashboard_unless_asked_for(tmp_path: Path) -> None:
    with local_cluster(tmp_path, 0) as cluster:
        log = (tmp_path / "log-0").read_text()
        port = int(log.split("dashboard at:")[1].split("/status")[0].rpartition(":")[2])
        assert cluster.scheduler.poll() is None
        assert ask(port, "status")[0] == 404


@pytest.mark.process
def test_taken_port_ends_the_scheduler(tmp_path: Path, cluster: LocalCluster, port: int) -> None:
    certificates = str(cluster.certificates / "cluster-scheduler")
    command = ["-m", "trainer", "scheduler", "--port", "0", "--certificates", certificates]
    done = programs.run([*command, "--dashboard-port", str(port)], timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"trainer: error: the dashboard cannot listen at 127.0.0.1:{port}: Address already in use (--dashboard-host,"
        " --dashboard-port)"
    ]
