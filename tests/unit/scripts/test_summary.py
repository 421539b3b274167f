"""scripts/summary.py: a stack with logins is asked with the user's token, and is never taken for one without runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import summary

pytestmark = pytest.mark.process

TOKEN = "mlr_secret"


class Closed(BaseHTTPRequestHandler):
    """A server that asks for a login, and has no runs."""

    def do_POST(self) -> None:
        """Answers as MLflow does."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"{}"
        self.send_response(200 if self.headers["Authorization"] == f"Bearer {TOKEN}" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of such a server, which is the stack's."""
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Closed) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        monkeypatch.setattr(summary, "compose_port", lambda *_: address)
        monkeypatch.setattr(summary, "name_of", lambda server: server)
        yield address
        server.shutdown()


def test_closed_stack_has_runs(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its users have is not to be seen, so `scripts/up` trains nothing there."""
    monkeypatch.setattr("sys.argv", ["summary.py", "--has-runs"])
    summary.main()


def test_closed_stack_is_summed_up(
    closed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["summary.py"])
    summary.main()
    assert f"http://{closed}" in capsys.readouterr().out


def test_token_is_used(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setattr("sys.argv", ["summary.py", "--has-runs"])
    with pytest.raises(SystemExit, match="1"):
        summary.main()
