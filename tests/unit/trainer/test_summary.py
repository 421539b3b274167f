"""scripts/summary.py: the best run that `scripts/up` names, out of a server's answers."""

from __future__ import annotations

import pytest
import summary
from mlflow import MlflowClient


def test_best_run_is_the_one_that_the_validation_rows_choose(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
