"""The pytest plugin and the GitHub Action give another project a stack of the built images, and leave nothing of it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import docker
import pytest
import requests
from mlflow import MlflowClient
from uv import find_uv_bin

from .stack import PROJECT_LABEL, ROOT, base_environment, wait_until

# The stack of the fixture has its artifacts in MinIO.
pytestmark = pytest.mark.minio
#: What the pytest that runs here, and MLflow's client in it, have put into the environment.
DROPPED = ("PYTEST_", "MLFLOW_EXPERIMENT", "MLFLOW_RUN")

# Two modules, which run at the same time: each logs a run, and waits until the other has logged one.
SIDE_BY_SIDE = """
import pathlib, time
import mlflow

def test_one(mlflow_stack):
    mlflow.set_tracking_uri(mlflow_stack.tracking_uri)
    with mlflow.start_run():
        mlflow.log_metric("loss", 1)
    pathlib.Path("{mine}").write_text(mlflow_stack.project)
    deadline = time.monotonic() + 240
    while not pathlib.Path("{other}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(mlflow.search_runs(output_format="list")) == 1
"""
# A test that says that it runs, and goes on until it is ended.
WAITS = """
import pathlib, threading

def test_waits(mlflow_stack):
    pathlib.Path("new").write_text(mlflow_stack.project)
    pathlib.Path("new").rename("runs")
    threading.Event().wait(300)
"""


@pytest.fixture(scope="module")
def installed(images: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a project that has the plugin's wheel installed, with the built images for its stacks."""
    folder = tmp_path_factory.mktemp("plugin")
    owner = f"replica-test-{secrets.token_hex(4)}"
    script = [str(ROOT / "scripts/pytest-plugin"), "--owner", owner, str(folder / "wheels")]
    subprocess.run(script, check=True, capture_output=True, timeout=120)
    (wheel,) = (folder / "wheels").iterdir()
    install = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site"), str(wheel)]
    subprocess.run([*install, "--python", sys.executable], check=True, capture_output=True, timeout=120)
    # The user of a container looks into the package's folder.
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)
    shell = {name: value for name, value in base_environment().items() if not name.startswith(DROPPED)}
    return {"IMAGE_PREFIX": "mlflow-replica", **shell, "PYTHONPATH": str(folder / "site")}


def start(folder: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    """Starts the tests in a folder; the plugin is found by its entry point."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # What a shell starts in the background ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        text=True,
    )


def run(folder: Path, environment: dict[str, str], *options: str) -> tuple[int, str]:
    """Runs the tests in a folder; returns the exit code and what pytest says."""
    process = start(folder, environment, *options)
    said = process.communicate(timeout=480)[0]
    return process.returncode, said


def left_of(project: str) -> list[str]:
    """Returns what there is of a project: containers, volumes and networks."""
    engine = docker.from_env()
    label = {"label": f"{PROJECT_LABEL}={project}"}
    containers = engine.api.containers(all=True, filters=label)
    volumes = engine.api.volumes(filters=label)["Volumes"] or []
    networks = engine.api.networks(filters=label)
    return [
        *(one["Names"][0] for one in containers),
        *(one["Name"] for one in volumes),
        *(one["Name"] for one in networks),
    ]


def test_example_project_passes(installed: dict[str, str], tmp_path: Path) -> None:
    """The example's tests run its pipeline on a stack of their own, in a copy of the project."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples/pipeline", project, ignore=shutil.ignore_patterns("__pycache__"))
    code, said = run(project, installed)
    assert code == 0, said
    assert re.search(r"\b4 passed\b", said), said


def test_workers_have_stacks_side_by_side(installed: dict[str, str], tmp_path: Path) -> None:
    """Each worker of pytest-xdist has one, and sees no other's runs; both are removed."""
    for mine, other in (("first", "second"), ("second", "first")):
        (tmp_path / f"test_{mine}.py").write_text(SIDE_BY_SIDE.format(mine=mine, other=other))
    code, said = run(tmp_path, installed, "--numprocesses", "2", "--dist", "loadfile")
    assert code == 0, said
    first, second = ((tmp_path / name).read_text() for name in ("first", "second"))
    assert first != second
    assert left_of(first) + left_of(second) == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=lambda kind: kind.name)
def test_nothing_stays_of_ended_tests(installed: dict[str, str], tmp_path: Path, kind: signal.Signals) -> None:
    """After Ctrl-C it is gone when pytest ends; where pytest is killed, soon afterwards."""
    (tmp_path / "test_waits.py").write_text(WAITS)
    with start(tmp_path, installed) as process:
        wait_until(lambda: (tmp_path / "runs").exists() or process.poll() is not None, "the test runs", 360)
        assert process.poll() is None, process.communicate()[0]
        project = (tmp_path / "runs").read_text()
        assert left_of(project)
        process.send_signal(kind)
        process.communicate(timeout=180)
    if kind == signal.SIGINT:
        assert left_of(project) == []
    wait_until(lambda: not left_of(project), "the stack is removed", 180)


def test_missing_images_are_one_line(installed: dict[str, str], tmp_path: Path) -> None:
    """Where neither this machine nor the registry has them; nobody listens at the registry's address."""
    (tmp_path / "test_one.py").write_text("def test_one(mlflow_stack):\n    pass\n")
    code, said = run(tmp_path, {**installed, "IMAGE_PREFIX": "localhost:9/none"})
    assert code == 1
    (line,) = (line for line in said.splitlines() if line.startswith("mlflow_stack: "))
    assert line.startswith("mlflow_stack: images are missing: localhost:9/none-bucket:")
    assert "Traceback" not in said


def test_no_engine_is_one_line(installed: dict[str, str], tmp_path: Path) -> None:
    """Where nobody listens at the engine's address."""
    (tmp_path / "test_one.py").write_text("def test_one(mlflow_stack):\n    pass\n")
    code, said = run(tmp_path, {**installed, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert code == 1
    (line,) = (line for line in said.splitlines() if line.startswith("mlflow_stack: "))
    assert line.startswith("mlflow_stack: no Docker engine answers: ")
    assert "Traceback" not in said


def test_action_starts_and_removes_a_stack(images: None, tmp_path: Path) -> None:
    """The step of the GitHub Action, with the files that a job gives it."""
    tag = base_environment()["IMAGE_TAG"]
    prefix = os.environ.get("IMAGE_PREFIX", "mlflow-replica")
    files = {name: tmp_path / name for name in ("GITHUB_ENV", "GITHUB_OUTPUT")}
    # MLFLOW_WORKERS is the job's, about another stack.
    environment = {**base_environment(), "RUNNER_TEMP": str(tmp_path), "OWNER": "owner/name", "MLFLOW_WORKERS": "none"}
    environment |= {"SETTINGS": f"IMAGE_PREFIX={prefix}\nIMAGE_TAG={tag}\n", **{k: str(v) for k, v in files.items()}}
    for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        path.chmod(0o755)

    def step(command: str) -> None:
        script = [str(ROOT / ".github/actions/stack/stack"), command]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=420, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    step("up")
    told = dict(line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines())
    environment |= told
    try:
        address = told["MLFLOW_TRACKING_URI"]
        assert files["GITHUB_OUTPUT"].read_text() == f"tracking-uri={address}\n"
        assert requests.get(f"{address}/health", timeout=60).text == "OK"
        client = MlflowClient(address)
        assert client.get_experiment(client.create_experiment("from-a-job")).name == "from-a-job"
    finally:
        step("down")
    assert left_of(told["MLFLOW_STACK_PROJECT"]) == []
