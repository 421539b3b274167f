"""Clients that log, search, upload and download side by side, and remember what the server has acknowledged."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# How many rounds a client logs into one run.
ROUNDS = 5


@dataclass
class Acknowledged:
    """What the server has answered with 200."""

    runs: dict[str, str] = field(default_factory=dict)  # the run's name, changed by each batch
    metrics: Counter[str] = field(default_factory=Counter)  # values by run
    params: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    artifacts: dict[str, int] = field(default_factory=dict)  # sizes
    versions: Counter[str] = field(default_factory=Counter)  # by registered model


class Client:
    """One client with a connection of its own.

    Args:
        address: The server's, as host and port.
        experiment: Where its runs go.
        number: What tells it from others.
    """

    def __init__(self, address: str, experiment: str, number: int) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.experiment = experiment
        self.number = number
        self.acknowledged = Acknowledged()
        self.errors: Counter[str] = Counter()
        self.seconds: list[float] = []

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """Sends a request; returns the answer, or None after counting the error."""
        begin = time.monotonic()
        try:
            self.connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
            response = self.connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.errors[f"{method} {path}: {type(error).__name__}"] += 1
            return None
        finally:
            self.seconds.append(time.monotonic() - begin)
        if response.status != http.client.OK:
            self.errors[f"{method} {path}: {response.status} {content[:150]!r}"] += 1
            return None
        return content if path.startswith(ARTIFACTS) and method == "GET" else json.loads(content or b"{}")

    def post(self, path: str, **body: Any) -> Any:
        """Posts JSON to MLflow's API."""
        return self.ask("POST", API + path, json.dumps(body).encode())

    def run(self, going_on: Callable[[], bool]) -> None:
        """Works for as long as it goes on."""
        model = f"load-{self.experiment}-{self.number}"
        registered = self.post("/registered-models/create", name=model) is not None
        while going_on():
            created = self.post("/runs/create", experiment_id=self.experiment, start_time=1, run_name="new")
            if created is None:
                continue
            run = str(created["run"]["info"]["run_id"])
            self.acknowledged.runs[run] = "new"
            for number in range(ROUNDS):
                self.round(run, number)
                if not going_on():
                    break
            source = f"mlflow-artifacts:/{self.experiment}/{run}/artifacts/model"
            if registered and self.post("/model-versions/create", name=model, source=source, run_id=run) is not None:
                self.acknowledged.versions[model] += 1
            self.ask("GET", f"{API}/registered-models/get?name={model}")

    def round(self, run: str, number: int) -> None:
        """Sends one request of each kind."""
        done = self.acknowledged
        if (
            self.post("/runs/log-metric", run_id=run, key="single", value=number, timestamp=number, step=number)
            is not None
        ):
            done.metrics[run] += 1
        # The run's name is what nests MLflow's sessions deepest.
        name = f"round {number}"
        metrics = [{"key": f"m{key}", "value": number, "timestamp": number, "step": number} for key in range(20)]
        params = [{"key": f"p{number}-{key}", "value": "1"} for key in range(5)]
        tags = [{"key": "mlflow.runName", "value": name}, {"key": f"t{number}", "value": "1"}]
        if self.post("/runs/log-batch", run_id=run, metrics=metrics, params=params, tags=tags) is not None:
            done.metrics[run] += len(metrics)
            done.params[run] += len(params)
            done.tags[run] += 1
            done.runs[run] = name
        if self.post("/runs/log-parameter", run_id=run, key=f"alone{number}", value="1") is not None:
            done.params[run] += 1
        if self.post("/runs/set-tag", run_id=run, key=f"alone{number}", value="1") is not None:
            done.tags[run] += 1
        self.post("/runs/search", experiment_ids=[self.experiment], max_results=20)
        folder = f"{self.experiment}/{run}/artifacts"
        # Every fifth is larger than what anyone may send without waiting for a place.
        content = bytes([number]) * (300_000 if number == ROUNDS - 1 else 3000)
        if self.ask("PUT", f"{ARTIFACTS}/{folder}/{number}.bin", content, "application/octet-stream") is not None:
            done.artifacts[f"{folder}/{number}.bin"] = len(content)
            got = self.ask("GET", f"{ARTIFACTS}/{folder}/{number}.bin")
            if got is not None and got != content:
                self.errors[f"{number}.bin came back as something else"] += 1
        self.ask("GET", f"{API}/artifacts/list?run_id={run}")


@dataclass
class Result:
    """What came of a load."""

    clients: list[Client]

    @property
    def errors(self) -> Counter[str]:
        """How often each error came."""
        return sum((client.errors for client in self.clients), Counter())

    @property
    def seconds(self) -> list[float]:
        """How long each request took, sorted."""
        return sorted(second for client in self.clients for second in client.seconds)

    def acknowledged(self, what: str) -> dict[str, Any]:
        """Returns one of the fields of Acknowledged, of all clients."""
        return {key: value for client in self.clients for key, value in getattr(client.acknowledged, what).items()}


def load(url: str, experiment: str, clients: int, seconds: float) -> Result:
    """Lets so many clients work side by side for so many seconds."""
    address = urlsplit(url).netloc
    all_clients = [Client(address, experiment, number) for number in range(clients)]
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=client.run, args=(lambda: time.monotonic() < until,), name="client")
        for client in all_clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        # A client's connection stays open, as that of a session does.
    for client in all_clients:
        client.connection.close()
    return Result(all_clients)


@contextmanager
def idle(url: str, how_many: int, begin: bytes = b"") -> Iterator[list[socket.socket]]:
    """Holds so many connections open, on which nothing comes after these first bytes."""
    address = urlsplit(url)
    with ExitStack() as connections:
        opened = []
        for _ in range(how_many):
            opened.append(connections.enter_context(socket.create_connection((address.hostname, address.port), 30)))
            opened[-1].sendall(begin)
        yield opened


def stalled_upload(size: int, sent: int = 1) -> bytes:
    """Returns the beginning of an upload of `size` bytes, with so many of them."""
    head = f"PUT {ARTIFACTS}/stalled/file.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + bytes(sent)
