"""What counting for Prometheus costs a request: the same application with it and without, in turns, in one process.

    scripts/benchmark --counting [ROUNDS]

Both applications are asked directly, without a server in front and without a network: what is common to both is left
out as far as it can be, so the share is larger than that of a real request. The clock is this process's own.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry
from trainer.serving.application import Bounds, Serving
from trainer.serving.champion import load
from trainer.serving.counts import Counts

from .serving import save

ROOT = Path(__file__).resolve().parents[2]
# Requests in a row, before the other one's turn.
TURN = 50
Ask = Callable[[], Awaitable[None]]


def request(
    path: str, body: bytes
) -> tuple[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]]:
    """Returns a request as a server gives it to an application: what it is, its body, and where its answer goes."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"host", b"x")]
    scope = {"type": "http", "method": "POST" if body else "GET", "path": path, "headers": headers, "query_string": b""}

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        assert message["type"] != "http.response.start" or message["status"] == 200, message

    return scope, receive, send


async def in_turns(plain: Ask, counted: Ask, rounds: int) -> tuple[float, float]:
    """Returns the microseconds of processor time of a request without and with counting: medians over the turns."""
    times: dict[Ask, list[float]] = {plain: [], counted: []}
    for number in range(rounds):
        for ask in (plain, counted) if number % 2 else (counted, plain):
            begin = time.process_time()
            for _ in range(TURN):
                await ask()
            times[ask].append((time.process_time() - begin) / TURN * 1e6)
    return statistics.median(times[plain][2:]), statistics.median(times[counted][2:])


def of_serving(folder: Path) -> tuple[Ask, Ask]:
    """Returns what asks for the prediction of one row."""
    dataset = save(folder / "model", 500)
    row = dataset.test.features.head(1)
    body = json.dumps({"dataframe_split": {"columns": list(row.columns), "data": row.to_numpy().tolist()}}, default=str)
    loaded = load(str(folder / "model"))
    champion = SimpleNamespace(uri=loaded.uri, said="", loaded=loaded, failing=False, tell=print)
    serving = Serving(cast("Any", champion), 60, Bounds())
    serving._current = (loaded, None)
    counts = Counts(folder / "counts.json")
    scope, receive, send = request("/invocations", body.encode())

    async def plain() -> None:
        serving._counts = None
        await serving(scope, receive, send)

    async def counted() -> None:
        serving._counts = counts
        await serving(scope, receive, send)

    return plain, counted


def of_server() -> tuple[Ask, Ask]:
    """Returns what asks MLflow's application whether it is well: the cheapest request there is."""
    sys.path.insert(0, str(ROOT / "services/mlflow/src"))
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app
    from replica_server.monitoring.request_metrics import RequestMetrics
    from replica_server.monitoring.route_templates import RouteTemplates
    from replica_server.requests import routes

    around = RequestMetrics(app, RouteTemplates(routes.paths(app, flask_app)), CollectorRegistry())
    scope, receive, send = request("/health", b"")

    async def plain() -> None:
        await app(dict(scope), receive, send)

    async def counted() -> None:
        await around(dict(scope), receive, send)

    return plain, counted


def main() -> None:
    """Measures and prints."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="counting-") as name:
        cases = {"serving, a row as JSON": lambda: of_serving(Path(name)), "server, /health": of_server}
        for what, make in cases.items():
            plain, counted = asyncio.run(in_turns(*make(), rounds))
            print(
                f"{what:24} {plain:7.1f} µs, counted {counted:7.1f} µs: {(counted / plain - 1) * 100:+.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
