"""Fixtures of the trainer's unit tests: small data, a SQLite store, a real MLflow server and a faulty proxy."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from trainer.cli.main import main
from trainer.data import demo
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.data.sources import load_data
from trainer.parallel.pool import ProcessPool
from trainer.promotion import sandbox
from trainer.runs.plan import Plan
from trainer.sweeps import sweep
from trainer.tracking import client
from trainer.tracking.connection import connect
from trainer.tracking.settings import configure
from trainer.training.train_config import TrainConfig

from . import programs

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .parallel.cluster_processes import LocalCluster

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the user's settings out of the tests, and one test's settings out of the next."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("TRAINER_", "MLFLOW_")):
            monkeypatch.delenv(name)
    # The command line's silence about warnings is not that of the tests.
    with warnings.catch_warnings():
        configure()
    # MLflow's own notion of the server outlives a test: loading a model by its URI sets it.
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture
def shoppers() -> Path:
    """Return the real data set that ONLINE_SHOPPERS_CSV names; see CONTRIBUTING.md."""
    path = os.environ.get("ONLINE_SHOPPERS_CSV")
    if not path:
        pytest.skip("ONLINE_SHOPPERS_CSV names no file: nothing is tried on the real data set")
    return Path(path)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Return a small data set with numbers, texts, booleans and gaps."""
    return load_data(rows=900, seed=7)


@pytest.fixture(scope="session")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """Return a function that reads a table, whose target is y, as the trainer does."""

    def make(table: pd.DataFrame, **how: Any) -> Dataset:
        path = tmp_path_factory.mktemp("table") / "table.csv"
        table.to_csv(path, index=False)
        return load_data(path, target="y", **how)

    return make


def _mixed_features(rows: int) -> tuple[pd.DataFrame, Any]:
    """Return features of every type with gaps, and a number that follows from them with some noise."""
    rng = np.random.default_rng(11)
    table = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["a", "b", "c"])
    table["month"] = rng.choice(["Jan", "Feb", "März"], rows)
    table["weekend"] = rng.random(rows) < 0.3
    score = table["a"] + 0.5 * table["b"] + (table["month"] == "Feb") + rng.normal(size=rows) * 0.5
    table.loc[rng.random(rows) < 0.05, "a"] = np.nan
    return table, score.to_numpy()


@pytest.fixture(scope="session")
def classes(make_table: Callable[..., Dataset]) -> Dataset:
    """Return a small data set with four classes."""
    table, score = _mixed_features(800)
    names = np.array(["low", "mid", "high, really", "très"])
    return make_table(table.assign(y=names[np.digitize(score, [-1, 0.5, 1.5])]))


@pytest.fixture(scope="session")
def numbers(make_table: Callable[..., Dataset]) -> Dataset:
    """Return a small data set whose target is a number."""
    table, score = _mixed_features(800)
    return make_table(table.assign(y=np.round(1000 * np.exp(score / 3), 2)))


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Return generated sessions as a raw table; tests copy it before they change it."""
    return generate_sessions(600, seed=3)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> Path:
    """Return the file of an embedded store as ``connect`` leaves it."""
    folder = tmp_path_factory.mktemp("template")
    connect(new_database(folder), "warm-up")
    return folder / "mlflow.db"


@pytest.fixture
def workdir(tmp_path: Path, _template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into an empty folder with an empty embedded store."""
    shutil.copy(_template, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def destination(workdir: Path) -> client.Destination:
    """Return an experiment in the embedded store."""
    return connect(None, "unit")


@pytest.fixture
def plan(destination: client.Destination) -> Plan:
    """Return a plan that tracks in the embedded store."""
    return Plan(destination, TrainConfig(seed=5), tags={"colour": "green"})


@dataclass
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The printed JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("trainer: error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert self.err.splitlines()[-1] == lines[0]
        return lines[0].removeprefix("trainer: error: ")


@pytest.fixture
def warm_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes in which promotion tries a model from the warm server, unless the test is marked ``cold``."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if sys.platform == "linux" and "process" in marks and "cold" not in marks:
        # Started now: the sandbox has a clock.
        programs.warm_server()
        forking = {**vars(subprocess), "Popen": programs.WarmProgram}
        monkeypatch.setattr(sandbox, "subprocess", SimpleNamespace(**forking))


@pytest.fixture
def trainer(capfd: pytest.CaptureFixture[str], warm_sandbox: None) -> Callable[..., Answer]:
    """Return a function that runs the command line in this process."""

    def run(*args: object) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        captured = capfd.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def start(workdir: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts the command line in a process of its own, in the working directory."""
    started: list[subprocess.Popen[str]] = []
    cold = request.node.get_closest_marker("cold") is not None

    def run(*args: object, **options: Any) -> subprocess.Popen[str]:
        started.append(programs.start_trainer(*args, cwd=workdir, cold=cold, **options))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def warm_pool(jobs: int) -> ProcessPool:
    """Return an engine whose processes need not import everything anew."""
    return ProcessPool(jobs, sweep.PRELOAD + sweep.PRELOAD_EMBEDDED)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, template: Path, **settings: str) -> Iterator[str]:
    """Run a real MLflow server on SQLite, with proxied artifacts unless the settings say otherwise."""
    shutil.copy(template, folder / "mlflow.db")
    port = free_port()
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **settings,
    }
    command = ["-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = programs.start(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/version", timeout=1).close()  # noqa: S310 - the address is ours
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the server did not start: {(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, _template: Path) -> Iterator[str]:
    """Return the address of a real MLflow server on SQLite, with proxied artifacts."""
    with serving(tmp_path_factory.mktemp("server"), _template) as url:
        yield url


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Return a cluster of two workers on this machine; no test harms it."""
    from .parallel.cluster_processes import local_cluster

    with local_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def tracked(cluster: LocalCluster, server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Set the server and the certificates for the command line; return a client of the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    from mlflow import MlflowClient

    return MlflowClient(server)


@dataclass
class Proxy:
    """Passes requests on to a server, and does to them what a test asks for.

    ``fault`` is called with the method, the path and how many such requests there were before. It returns None (pass
    on), "drop reply" (pass on, then hang up), "interrupt" (pass on, press Ctrl-C, then hang up), "hang up" (do not pass
    on), a status to answer with, a text to answer with, or both; or something to call between the server's reply and
    passing that on.
    ``host`` is the host name that the server is told.
    """

    url: str = ""
    host: str = "localhost"
    fault: Callable[[str, str, int], str | bytes | int | tuple[int, bytes] | Callable[[], None] | None] = (
        lambda _method, _path, _count: None
    )
    seen: list[tuple[str, str]] = field(default_factory=list)

    def count(self, method: str, part: str) -> int:
        """Return how many requests of this method had ``part`` in their path."""
        return sum(1 for seen_method, path in self.seen if seen_method == method and part in path)


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Return a proxy in front of the MLflow server; a request that it fails is sent again without a pause."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    state = Proxy()
    upstream = server.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            path = self.path.partition("?")[0]
            fault = state.fault(self.command, path, state.count(self.command, path))
            state.seen.append((self.command, path))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if fault == "hang up":
                return self.hang_up()
            if isinstance(fault, int):
                return self.answer(fault, b"no", "text/plain")
            if isinstance(fault, bytes):
                return self.answer(200, fault, "application/json")
            if isinstance(fault, tuple):
                return self.answer(*fault, "application/json")
            connection = http.client.HTTPConnection(upstream, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            headers["Host"] = state.host
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            content = reply.read()
            connection.close()
            if callable(fault):
                fault()
            if fault == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            if fault in ("drop reply", "interrupt"):
                return self.hang_up()
            return self.answer(reply.status, content, reply.getheader("Content-Type") or "application/json")

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the base class calls these names

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    state.url = f"http://127.0.0.1:{listener.server_address[1]}"
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def four_files(tmp_path: Path, table: pd.DataFrame) -> Path:
    """Return a folder as a Kedro pipeline leaves it."""
    folder = tmp_path / "four"
    folder.mkdir()
    features, labels = table.drop(columns=demo.TARGET), table[[demo.TARGET]]
    held_out = np.arange(len(table)) % 5 == 0
    for part, rows in (("train", ~held_out), ("test", held_out)):
        features[rows].to_csv(folder / f"X_{part}.csv", index=False)
        labels[rows].to_csv(folder / f"y_{part}.csv", index=False)
    return folder
