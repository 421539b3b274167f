"""Whatever is killed, frozen, restarted or cut off, and whenever: nothing that was acknowledged is lost.

The table below has a row for each fault. About ten of each kind run by default; `--kill-matrix` runs them all.
"""

from __future__ import annotations

import re

import pytest

from .faults import FAULTS
from .kill_moments import MOMENTS
from .stack import ONE_SHOTS, STORAGE_NETWORK, STORAGE_SERVERS, Stack

STORE = STORAGE_SERVERS[-1]
# The one-shot service that prepares the storage: bucket or preflight.
PREPARES = ONE_SHOTS[-2]

# When it happens, what happens, to whom (and on which network).
USUAL = (
    ("logging metrics", "killed", "postgres"),
    ("logging metrics", "cut off", "postgres", "database"),
    ("logging metrics", "restarted", "mlflow"),
    ("uploading 20 MiB", "killed", "mlflow"),
    ("uploading 20 MiB", "killed", STORE),
    ("uploading 20 MiB", "interrupted", PREPARES),
    ("registering", "frozen", "postgres"),
    ("searching", "killed", "mlflow"),
    ("a sweep", "power failure"),
    ("a sweep", "worker killed"),
)

# The whole matrix: what befalls at every moment, and what concerns one.
ANY_TIME = (
    ("killed", "postgres"),
    ("killed", STORE),
    ("killed", "mlflow"),
    ("frozen", "postgres"),
    ("cut off", "mlflow", "database"),
    ("power failure",),
)
FURTHER = (
    ("logging metrics", "stopped", "postgres"),
    ("logging metrics", "stopped", "mlflow"),
    ("logging metrics", "restarted", "postgres"),
    ("logging metrics", "cut off", "mlflow", "inside"),
    ("uploading 20 MiB", "frozen", STORE),
    ("uploading 20 MiB", "stopped", STORE),
    ("uploading 20 MiB", "restarted", STORE),
    ("uploading 20 MiB", "cut off", STORE, STORAGE_NETWORK),
    ("uploading 20 MiB", "cut off", "mlflow", STORAGE_NETWORK),
    ("a sweep", "frozen", "mlflow"),
    ("a sweep", "trainer killed"),
    ("a promotion", "trainer killed"),
)
WHOLE = tuple(dict.fromkeys((*USUAL, *((moment, *fault) for moment in MOMENTS for fault in ANY_TIME), *FURTHER)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a row."""
    if "fault" in metafunc.fixturenames:
        rows = WHOLE if metafunc.config.getoption("--kill-matrix") else USUAL
        metafunc.parametrize("fault", rows, ids=[" - ".join(row) for row in rows])


@pytest.fixture
def clients_as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client tries as often as it does by itself, but pauses half as long: a minute in all."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")


@pytest.mark.usefixtures("clients_as_shipped")
def test_nothing_acknowledged_is_lost(
    crash_stack: Stack, fault: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    moment, how, *victims = fault
    crash_stack.wait_healthy()
    name = re.sub(r"\W+", "-", request.node.callspec.id)
    work = MOMENTS[moment](crash_stack, name, fault=how)
    work.begin()
    FAULTS[how](crash_stack, work, *victims)
    work.end()
    # By itself, and soon: what a person would have to do counts as lost.
    crash_stack.wait_healthy()
    work.verify()
