"""After a loss of power and a boot everything is healthy again by itself, with all runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from .docker_engine import private_engine
from .stack import ONE_SHOTS, SERVERS, Stack, wait_until

LOG_RUN = """
import mlflow
client = mlflow.MlflowClient("http://localhost:5000")
run = client.create_run("0", run_name="before the loss of power").info.run_id
client.log_metric(run, "height", 1.5)
client.log_text(run, "content", "note.txt")
client.set_terminated(run)
print(run)
"""
READ_RUN = """
import sys, mlflow
mlflow.set_tracking_uri("http://localhost:5000")
run = mlflow.MlflowClient().get_run(sys.argv[1])
print(run.data.metrics, run.info.status, mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt"))
"""


def test_everything_returns_after_a_power_loss(
    request: pytest.FixtureRequest, images: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything comes back after a loss of power."""
    if not request.config.getoption("--engine-restart"):
        pytest.skip("starts an engine of its own and copies all images to it (--engine-restart)")
    named = Stack(folder(tmp_path, "names"))
    needed = sorted(named.image(service) for service in images_of_stack())
    # A short path: a socket's name has 107 characters at most.
    home = Path(tempfile.mkdtemp(prefix="engine-", dir="/var/tmp"))
    with private_engine(home) as engine:
        engine.load(*needed)
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        stack = Stack(folder(tmp_path, "stack"))
        stack.up()
        run_id = stack.exec("mlflow", "python3", "-c", LOG_RUN).split()[-1]
        started = {service: stack.container(service).attrs["State"]["StartedAt"] for service in SERVERS}
        engine.lose_power()
        engine.boot()
        for service in SERVERS:
            wait_until(lambda service=service: came_back(stack, service, started), f"{service} is back", 120)  # type: ignore[misc]
        assert stack.exec("mlflow", "python3", "-c", READ_RUN, run_id).split("\n")[-2] == (
            "{'height': 1.5} FINISHED content"
        )
        # Nobody has called Compose, and the one-shots have not run again.
        assert {stack.container(service).status for service in ONE_SHOTS} == {"exited"}


def folder(parent: Path, name: str) -> Path:
    """Makes a folder and returns it."""
    made = parent / name
    made.mkdir()
    return made


def images_of_stack() -> set[str]:
    """Returns the names of the images that the stack's services use."""
    shared = {"migrate": "mlflow", "preflight": "mlflow", "gcs": "gcs-emulator"}
    shared |= {"gcs-store": "gcs-emulator", "gcs-keys": "gcs-emulator"}
    return {shared.get(service, service) for service in (*SERVERS, *ONE_SHOTS)}


def came_back(stack: Stack, service: str, started: dict[str, str]) -> bool:
    """Tells whether a server has been started anew and is healthy."""
    state = stack.container(service).attrs["State"]
    return bool(state["StartedAt"] != started[service] and state.get("Health", {}).get("Status") == "healthy")
