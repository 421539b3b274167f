"""What is served is counted: requests, rows, scores, unknown texts; by several processes together, and past a death."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from trainer.data.dataset import Dataset
from trainer.serving.application import Bounds, Serving
from trainer.serving.champion import Champion, load
from trainer.serving.counts import SCORES, Counts, Totals, total
from trainer.serving.exposition import Exposition
from trainer.serving.own_model import Reply

from .. import programs
from ..conftest import free_port

if TYPE_CHECKING:
    import subprocess

JSON = [(b"content-type", b"application/json")]
MODEL = "models:/m/1"


def ask(serving: Serving, body: bytes, path: str = "/invocations") -> int:
    """Return the status with which a request is answered."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    method = "POST" if path == "/invocations" else "GET"
    asyncio.run(serving({"type": "http", "method": method, "path": path, "headers": JSON}, receive, send))
    status: int = sent[0]["status"]
    return status


def seen(exposition: Exposition, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(exposition)
    return registry.get_sample_value(f"trainer_serving_{name}", labels)


@pytest.fixture
def loaded(saved: Path) -> Champion:
    champion = Champion(str(saved), "")
    champion.require()
    return champion


@pytest.mark.slow
def test_rows_scores_and_unknown_texts_are_counted(exposition: Exposition, loaded: Champion, dataset: Dataset) -> None:
    counts = exposition.counts(0)
    serving = Serving(loaded, 1, Bounds(), counts=counts)
    serving._take()
    features = dataset.test.features.head(30)
    model = str(loaded.uri)
    for table, rows in ((features, 30), (features.head(1).assign(month="Brumaire"), 1)):
        assert len(table) == rows
        body = {"dataframe_split": json.loads(table.to_json(orient="split"))}
        assert ask(serving, json.dumps(body).encode()) == 200
    assert ask(serving, b"{}") == 400
    assert ask(serving, b"", "/elsewhere") == 404
    counts.look(loaded)
    counts.write()
    assert seen(exposition, "rows_total", model=model) == 31
    assert seen(exposition, "scores_count", model=model) == 31
    assert seen(exposition, "unseen_texts_total", model=model, column="month") == 1
    assert seen(exposition, "requests_total", path="/invocations", status="200") == 2
    assert seen(exposition, "requests_total", path="/invocations", status="400") == 1
    assert seen(exposition, "requests_total", path="other", status="404") == 1
    assert seen(exposition, "request_seconds_count", path="/invocations") == 3
    assert seen(exposition, "processes", model=model) == 1
    assert seen(exposition, "failing_processes") == 0
    trees = load(model).trees
    assert trees is not None
    body = {"dataframe_split": json.loads(features.to_json(orient="split"))}
    scores = trees.answer(json.dumps(body).encode(), "application/json", "").scores
    assert scores is not None
    below = seen(exposition, "scores_bucket", model=model, le="0.5")
    assert below is not None
    assert below - np.count_nonzero(scores <= 0.5) in (0, 1)


@pytest.mark.parametrize("many", [False, True])
def test_score_on_a_bound_is_below_it(exposition: Exposition, many: bool) -> None:
    """As Prometheus counts, whether scores are counted one by one or together."""
    counts = exposition.counts(0)
    scores = np.array([0.0, 0.05, 0.050001, 1.0])
    for part in [scores] if many else [scores[place : place + 1] for place in range(4)]:
        counts.reply(MODEL, Reply(200, b"", part, rows=len(part)))
    counts.write()
    assert seen(exposition, "scores_bucket", model=MODEL, le="0.05") == 2
    assert seen(exposition, "scores_bucket", model=MODEL, le="0.1") == 3
    assert seen(exposition, "scores_bucket", model=MODEL, le=str(SCORES[-1])) == 4
    assert seen(exposition, "scores_sum", model=MODEL) == pytest.approx(1.100001)


def test_dead_process_leaves_what_it_counted(tmp_path: Path) -> None:
    """The one that takes its place goes on with its numbers, and with none of its gauges."""
    for status, number in ((200, 0), (200, 1), (500, 0)):
        counts = Counts(tmp_path / f"{number}.json")
        counts.request("/ping", status, 0.1)
        counts.write()
    together = total(tmp_path.glob("*.json"))
    assert together.counters == {("requests", "/ping", "200"): 2, ("requests", "/ping", "500"): 1}
    assert together.histograms["request_seconds", "/ping"][-1] == pytest.approx(0.3)


def test_failing_champion_is_seen(exposition: Exposition, workdir: Path) -> None:
    champion = Champion("models:/nobody@champion", f"sqlite:///{workdir}/mlflow.db")
    counts = exposition.counts(0)
    champion.check()
    counts.look(champion)
    counts.write()
    assert seen(exposition, "failing_processes") == 1
    assert seen(exposition, "processes", model="nobody") is None


def test_nothing_is_counted_unless_asked_for(loaded: Champion) -> None:
    serving = Serving(loaded, 1, Bounds())
    serving._take()
    assert ask(serving, b"", "/ping") == 200
    assert serving._counts is None


def test_file_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert Totals.read(tmp_path / "none") == Totals()


def test_processes_tell_one_total(start: Callable[..., subprocess.Popen[str]], saved: Path) -> None:
    """Whichever process is asked, and also after one of them was killed."""
    port, metrics = free_port(), free_port()
    process = start("serve", "--model", saved, "--port", port, "--workers", 2, "--metrics-port", metrics)
    assert process.stderr is not None
    body = (saved / "serving_input_example.json").read_bytes()

    def get(at: int, path: str, content: bytes = b"") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", at, timeout=60)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST" if content else "GET", path, content or None, headers)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def counted() -> tuple[float, float]:
        try:
            families = text_string_to_metric_families(get(metrics, "/metrics"))
        except OSError:
            return -1, -1
        samples = [sample for family in families for sample in family.samples]
        served = [one.value for one in samples if one.labels.get("path") == "/invocations"
                  and one.name == "trainer_serving_requests_total"]  # fmt: skip
        living = [one.value for one in samples if one.name == "trainer_serving_processes"]
        return sum(served), sum(living)

    from .test_workers import answers, wait_for

    wait_for(lambda: answers(port) and counted()[1] == 2)
    for _ in range(20):
        assert "predictions" in get(port, "/invocations", body)
    wait_for(lambda: counted()[0] == 20)
    victim = min(programs.children(process.pid))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(programs.children(process.pid) - {victim}) == 2)
    for _ in range(5):
        assert "predictions" in get(port, "/invocations", body)
    wait_for(lambda: counted() == (25, 2))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
