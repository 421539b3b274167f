"""MLflow's own server in this stack's place: without our code, on the same data, and with the same answers but some.

Those are listed in docs/operators/server-answers.md. The tables there and the requests here are one source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import requests
from mlflow import MlflowClient

from .conftest import NewStack
from .stack import ROOT, STORAGE, Stack
from .stock_artifact_requests import ARTIFACT_REQUESTS
from .stock_compare import Request, Sender, difference, normal
from .stock_requests import REQUESTS
from .stock_state import prepare

FILE = "compose.stock.yaml"
ALL = [*ARTIFACT_REQUESTS, *REQUESTS]
PAGE = ROOT / "docs" / "operators" / "server-answers.md"
#: The rows of the page's tables: what stands after a row's name.
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", PAGE.read_text(), re.MULTILINE))
# Runs in the server's container, with the environment of the server's own process.
MODULES = """
import glob, json, os, sys
if "AGAIN" not in os.environ:
    # Not this program, which spells it otherwise.
    server = next(one for one in glob.glob("/proc/[0-9]*") if "fastapi_app" + ":app" in open(one + "/cmdline").read())
    given = dict(part.split("=", 1) for part in open(server + "/environ").read().split("\\0") if part)
    os.execve(sys.executable, [sys.executable, "-c", os.environ["CODE"]], given | {"AGAIN": "true"})
import uvicorn
import mlflow.server.fastapi_app
from importlib.metadata import entry_points
names = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([names, [point.value for point in entry_points() if point.group.startswith("mlflow")], sys.path]))
"""
# What MLflow's own server does otherwise, by the names of the checks; with Cloud Storage its account may delete.
REMARKS = {"missing artifact", "signed addresses", *(["deleting an artifact"] if STORAGE == "gcs" else [])}


@pytest.fixture(scope="module")
def stock(new_stack: NewStack) -> Iterator[Stack]:
    """A stack whose server is MLflow's own."""
    with new_stack(files=(FILE,)) as stack:
        stack.up()
        yield stack


@pytest.fixture(scope="module")
def replica(new_stack: NewStack) -> Iterator[Stack]:
    """A stack as everyone gets it, with nothing on it."""
    with new_stack() as stack:
        stack.up()
        yield stack


# Answers: first, because they are about servers with nothing else on them --------------------------------------------


class Compared(NamedTuple):
    """A request, and how the servers' answers to it differ; empty when they are the same."""

    request: Request
    difference: str


def answers_of(stack: Stack) -> list[dict[str, Any]]:
    """Returns what a server answers to each request."""
    known = prepare(stack.url)
    sender = Sender(stack.url, known)
    return [normal(sender.send(request), known) for request in ALL]


@pytest.fixture(scope="module")
def compared(replica: Stack, stock: Stack) -> list[Compared]:
    """Each request with the answers of both servers, compared."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(answers_of, (replica, stock)))
    return [Compared(request, difference(*both)) for request, *both in zip(ALL, *answers, strict=True)]


@pytest.mark.minio  # What a storage says is in some messages.
def test_answers_differ_by_a_row_only(compared: list[Compared], record_property: Any) -> None:
    """A difference without a row fails; so does a request that names a row, and does not differ."""
    record_property("requests", len(compared))
    record_property("different", sum(1 for one in compared if one.difference))
    without = [
        f"{one.request.name}\n    {one.difference}" for one in compared if one.difference and not one.request.row
    ]
    same = [f"{one.request.name}: row {one.request.row}" for one in compared if one.request.row and not one.difference]
    assert (without, same) == ([], []), "\n".join(["", "differ:", *without, "are the same:", *same])


def test_each_row_is_shown() -> None:
    """A row of the page is shown by a request or by a test that it names, and a request's row is on the page."""
    named = {request.row for request in ALL if request.row}
    assert named - set(ROWS) == set()
    assert [
        row for row, cells in ROWS.items() if row not in named and not re.search(r"shown by `test_\w+`", cells)
    ] == []
    assert [row for row, cells in ROWS.items() if row in named and "shown by" in cells] == []
    assert len(ROWS) > 20


# The mode -------------------------------------------------------------------------------------------------------------


def test_no_module_of_ours(stock: Stack) -> None:
    """The container's processes are MLflow's, and import nothing of this stack's."""
    commands = stock.exec(
        "mlflow", "bash", "-c", "for f in $(ls -dv /proc/[0-9]*/cmdline); do tr '\\0' ' ' <$f; echo; done"
    )
    servers = [line for line in commands.splitlines() if line and "cmdline" not in line and "docker-init" not in line]
    assert len(servers) == 2, servers
    assert servers[0].split()[1:3] == ["/opt/venv/bin/mlflow", "server"]
    assert servers[1].split()[-1] == "mlflow.server.fastapi_app:app"
    names, points, path = json.loads(stock.exec("mlflow", "python3", "-c", MODULES, environment={"CODE": MODULES}))
    assert "mlflow" in names
    assert [name for name in names if name in ("app", "replica_server")] == []
    assert [point for point in points if point.startswith(("app", "replica"))] == []
    assert [place for place in path if place.startswith("/opt") and not place.startswith("/opt/venv/")] == []


def test_trainer_and_verify_work(stock: Stack) -> None:
    """The trainer trains; what MLflow's server does otherwise is a remark, at which the checks pass."""
    stock.train("--n-estimators", "5")
    done = stock.run_trainer("verify", "--json", "--large-mib", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["conforms"] is True
    outcomes = {one["check"]: one["outcome"] for one in report["checks"]}
    assert {name for name, outcome in outcomes.items() if outcome != "as the replica"} == REMARKS
    assert {outcomes[name] for name in REMARKS} == {"remark"}
    details = {one["check"]: one["detail"] for one in report["checks"]}
    assert details["server version"].endswith("; the server is MLflow's own")


def is_ours(stack: Stack) -> bool:
    """Tells whether this stack's own server answers."""
    answer = requests.get(f"{stack.url}/api/3.0/mlflow/workspaces", timeout=30)
    return answer.status_code == 403 and "This server has no workspaces" in answer.text


def test_servers_take_turns(stock: Stack) -> None:
    """What either server has kept is there with the other one."""
    with_stock, without = list(stock.files), [file for file in stock.files if file.name != FILE]
    runs: dict[str, bool] = {}
    for files in (with_stock, without, with_stock):
        stock.files = files
        stock.up()
        assert is_ours(stock) == (files is without)
        client = MlflowClient(stock.url)
        for run, ours in runs.items():
            assert client.get_run(run).data.metrics == {"loss": 0.5}
            address = f"{stock.url}/get-artifact?run_id={run}&path=a.txt"
            assert requests.get(address, timeout=30).text == str(ours)
        run = client.create_run("0").info.run_id
        client.log_metric(run, "loss", 0.5)
        client.log_text(run, str(is_ours(stock)), "a.txt")
        runs[run] = is_ours(stock)
