"""Sends MLflow's requests to a server over many connections, and says how many were answered, and how fast.

Runs in the trainer's container. Reads a line for each measurement, ``SERVER CALL CLIENTS SECONDS``, and answers each
with a line of JSON. Each connection sends its next request when the one before is answered.
"""

import asyncio
import http.client
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import uvloop

NOW = 1_790_000_000_000
METRICS = 1_000
#: In the place of a number that differs from request to request: a batch that is sent twice would be stored once.
MARK = b"10000001"
NUMBERS = itertools.count(10_000_002)


def post(server: str, path: str, content: dict[str, Any]) -> Any:
    """Returns the answer of a server to a request by itself."""
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=60)
    connection.request("POST", f"/api/2.0/mlflow/{path}", json.dumps(content), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = json.loads(reply.read())
    if reply.status != http.client.OK:
        raise SystemExit(f"tracking: error: {server}/{path}: {content}")
    return content


def experiment(server: str) -> str:
    """Returns a new experiment."""
    return str(post(server, "experiments/create", {"name": f"tracking-{time.time_ns()}"})["experiment_id"])


def create_run(_server: str, experiment_id: str) -> tuple[str, dict[str, Any]]:
    """Returns a request as ``mlflow.start_run`` sends it."""
    tags = {"mlflow.user": "someone", "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL"}
    listed = [{"key": name, "value": value} for name, value in tags.items()]
    body = {"experiment_id": experiment_id, "user_id": "someone", "start_time": NOW, "run_name": "run", "tags": listed}
    return "runs/create", body


def log_batch(server: str, experiment_id: str, *, names: int) -> tuple[str, dict[str, Any]]:
    """Returns a batch of 1,000 metrics for a run of its own, of so many names."""
    run_id = post(server, "runs/create", {"experiment_id": experiment_id, "start_time": NOW})["run"]["info"]["run_id"]
    step = int(MARK)
    metrics = [
        {"key": f"metric-{index % names}", "value": 1 / (index + 3), "timestamp": NOW + index, "step": step}
        for index in range(METRICS)
    ]
    return "runs/log-batch", {"run_id": run_id, "metrics": metrics}


CALLS: dict[str, Callable[[str, str], tuple[str, dict[str, Any]]]] = {
    "create_run": create_run,
    "log_batch-4": partial(log_batch, names=4),
    "log_batch-1000": partial(log_batch, names=METRICS),
}


class Client(asyncio.Protocol):
    """A connection that sends a request after the other."""

    def __init__(self, host: str, path: str, body: bytes, found: dict[int, list[float]], until: float) -> None:
        head = f"POST /api/2.0/mlflow/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._found, self._until, self._buffer = found, until, bytearray()
        #: uvloop's is no subclass of asyncio's.
        self._transport: Any = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request.replace(MARK, b"%d" % next(NUMBERS)))

    def data_received(self, data: bytes) -> None:
        """Notes an answer and sends the next request."""
        self._buffer += data
        head, mark, body = bytes(self._buffer).partition(b"\r\n\r\n")
        if not mark or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._buffer.clear()
        now = time.perf_counter()
        self._found.setdefault(int(head[9:12]), []).append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Says that this client has ended."""
        if not self.ended.done():
            self.ended.set_result(None)


async def measure(server: str, call: str, clients: int, seconds: float) -> dict[str, float]:
    """Returns how many requests were answered a second, their median in ms, and how many there were of either kind."""
    address, found_experiment = urlsplit(server), experiment(server)
    requests = [CALLS[call](server, found_experiment) for _ in range(clients)]
    found: dict[int, list[float]] = {}
    begin = time.perf_counter()
    made = [
        asyncio.get_running_loop().create_connection(
            lambda path=path, body=body: Client(  # type: ignore[misc]
                address.netloc, path, json.dumps(body, indent=2).encode(), found, begin + seconds
            ),
            str(address.hostname),
            address.port or 80,
        )
        for path, body in requests
    ]
    opened = [protocol for _, protocol in await asyncio.gather(*made)]
    await asyncio.gather(*(client.ended for client in opened))
    wall = time.perf_counter() - begin
    times = found.get(200, [])
    refused = sum(len(others) for status, others in found.items() if status != 200)
    middle = 1000 * statistics.median(times) if times else float("nan")
    return {"rate": len(times) / wall, "p50": middle, "refused": refused, "answered": len(times)}


def main() -> None:
    """Measures what each line asks for."""
    for line in sys.stdin:
        server, call, clients, seconds = line.split()
        print(json.dumps(uvloop.run(measure(server, call, int(clients), float(seconds)))), flush=True)


if __name__ == "__main__":
    main()
