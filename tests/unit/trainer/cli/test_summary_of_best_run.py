"""scripts/summary.py: the best run that `scripts/up` names, out of a server's answers."""

from __future__ import annotations

import http.server
import threading

import pytest
import summary
from mlflow import MlflowClient


def test_best_run_is_chosen_on_validation_rows(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Best run is the one that the validation rows choose."""
    monkeypatch.setattr(summary, "EXPERIMENT", "summary")
    address = server.removeprefix("http://")
    client = MlflowClient(server)
    experiment = client.create_experiment("summary")

    def track(name: str, **metrics: float) -> str:
        run: str = client.create_run(experiment, run_name=name).info.run_id
        client.log_param(run, "learning_rate", 0.1)
        for metric, value in metrics.items():
            client.log_metric(run, metric, value)
        client.set_terminated(run)
        return run

    # Another client's, which knows no such figure.
    track("foreign", accuracy=1.0)
    assert summary.best_run(address) is None
    track("good on the test rows", validation_average_precision=0.7, average_precision=0.9)
    best = track("chosen", validation_average_precision=0.8, average_precision=0.6)
    assert summary.best_run(address) == (experiment, best, "chosen", 0.8)


@pytest.mark.parametrize(("status", "expected"), [(200, "localhost"), (403, "127.0.0.1")])
def test_address_leads_to_the_server(
    status: int, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Address leads to the server and not to what holds the port beside it."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

    monkeypatch.setenv("no_proxy", "localhost")
    with http.server.HTTPServer(("localhost", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
        port = receiver.server_port
        assert summary.name_of(f"127.0.0.1:{port}") == f"{expected}:{port}"
        receiver.shutdown()
    assert ("MLFLOW_PORT=5050" in capsys.readouterr().err) == (status == 403)
