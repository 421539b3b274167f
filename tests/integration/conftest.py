"""One composed stack for the whole session, and a way to more. Each is removed, with its volumes, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import mlflow
import pytest
from docker.errors import DockerException, ImageNotFound
from mlflow import MlflowClient
from xdist.workermanage import NodeManager  # type: ignore[import-untyped]

from .browser import chromium, recording_proxy
from .client_programs import find_program
from .stack import STORAGE, STORAGE_SERVERS, Stack, free_port, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container
    from playwright.sync_api import Browser

NewStack = Callable[..., AbstractContextManager[Stack]]
HERE = Path(__file__).parent


def pytest_configure() -> None:
    # A CI system ends a job with SIGTERM: the stacks are to be removed then too, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Where several processes share the tests, each removes its stacks then, which takes longer than xdist's 10 seconds.
    NodeManager.EXIT_TIMEOUT = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    elsewhere = {"minio": "holds for MinIO only", "gcs": "holds for the gcs profile only (--storage gcs)"}
    for item in items:
        for storage, reason in elsewhere.items():
            if item.get_closest_marker(storage) and storage != STORAGE:
                item.add_marker(pytest.mark.skip(reason=reason))
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Takes away what this shell knows about trackers and buckets: the host's client has the server's address only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "MLFLOW_", "TRAINER_", "PG")):
                patch.delenv(name)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # A server that is gone fails a test soon.
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        patch.setenv("NO_PROXY", "*")
        yield


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Builds the images unless all are there."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        pytest.fail(f"no Docker engine answers (scripts/ensure-engine; without one: pytest tests/unit): {error}")
    stack = Stack(tmp_path_factory.mktemp("images"))
    # MinIO's in any case: a stack that is in the emulated Cloud Storage can be changed to it.
    names = (STORAGE, "minio", "trainer", "https", "monitoring")
    profiles = [part for name in names for part in ("--profile", name)]
    try:
        for name in stack.compose(*profiles, "config", "--images").stdout.split():
            client.images.get(name)
    except ImageNotFound:
        stack.compose(*profiles, "build", timeout=1800)


@pytest.fixture(scope="session")
def new_stack(images: None, tmp_path_factory: pytest.TempPathFactory) -> NewStack:
    """Makes a further stack, not started yet, for the length of a `with` block."""

    @contextmanager
    def make(**options: Any) -> Iterator[Stack]:
        stack = Stack(tmp_path_factory.mktemp("stack"), **options)
        try:
            yield stack
        finally:
            stack.remove()

    return make


@pytest.fixture(scope="session")
def stack(new_stack: NewStack) -> Iterator[Stack]:
    """The stack as everyone gets it, for tests that leave it as it is."""
    with new_stack(settings={"MLFLOW_PUBLIC_URL": "http://mlflow.test:5000"}) as stack:
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def _crash_stack(new_stack: NewStack) -> Iterator[Stack]:
    health = {"healthcheck": {"interval": "1s"}}
    services = dict.fromkeys(("postgres", *STORAGE_SERVERS, "mlflow", "edge"), health)
    with new_stack(settings={"MLFLOW_PORT": str(free_port())}, override={"services": services}) as stack:
        stack.up()
        yield stack


@pytest.fixture
def crash_stack(_crash_stack: Stack) -> Stack:
    """A stack for tests that stop and kill things, and leave it healthy again. Its health is asked for every second.

    The server keeps its port over restarts, so that its clients find it again. What a failed test has left stopped is
    started here, so that the tests after it do not fail too.
    """
    if not _crash_stack.is_running():
        _crash_stack.up()
    return _crash_stack


@pytest.fixture(scope="session")
def client(stack: Stack) -> MlflowClient:
    """MLflow's client on the host, which knows the server's address and no credential."""
    # Of no registry: a client of another stack would ask this one's.
    mlflow.set_tracking_uri(stack.url)
    return MlflowClient(stack.url)


@pytest.fixture(scope="session")
def strict_url(stack: Stack) -> str:
    """The address of a second server of the stack, on the same storage, which lets no artifact be overwritten."""
    options = []
    if STORAGE == "gcs":
        options += ["--volume", f"{stack.project}_gcs-keys:/run/secrets/gcs-keys:ro"]
        options += ["--env", "GOOGLE_APPLICATION_CREDENTIALS=/run/secrets/gcs-keys/write-once.json"]
    server = stack.start("mlflow", options=options, settings={"ARTIFACT_OVERWRITE": "refuse"})

    def healthy() -> bool:
        server.reload()
        return bool(server.attrs["State"]["Health"]["Status"] == "healthy")

    wait_until(healthy, "the strict server is healthy", 150)
    return stack.publish(server, 5000)[0]


@pytest.fixture(scope="session")
def baseline(stack: Stack) -> dict[str, Any]:
    """The result of a baseline run on generated sessions."""
    return stack.train()


@pytest.fixture(scope="session")
def sweep(stack: Stack) -> dict[str, Any]:
    """The result of the standard sweep."""
    return stack.train("sweep")


@pytest.fixture(scope="session")
def idle_trainer(stack: Stack) -> Any:
    """The trainer's container with nothing but a sleep in it, to look around from."""
    return stack.start_trainer("infinity", entrypoint="sleep")


@pytest.fixture(scope="session")
def serving(stack: Stack, client: MlflowClient, baseline: dict[str, Any]) -> Container:
    """The container that serves the champion of the registered model `served`, which is the baseline."""
    mlflow.register_model(baseline["model_uri"], "served")
    client.set_registered_model_alias("served", "champion", "1")
    stack.up("serving", settings={"SERVING_MODEL": "models:/served@champion"})
    return stack.container("serving")


@pytest.fixture(scope="session")
def proxy(stack: Stack) -> Container:
    """The container in front of the server, with HTTPS and a login."""
    stack.up("--no-deps", "proxy")
    return stack.container("proxy")


@pytest.fixture(scope="session")
def cluster(stack: Stack) -> dict[str, Container]:
    """The containers of a cluster of two workers: `scheduler`, `worker` (one of them), and those that publish ports."""
    stack.up("--scale", "worker=2", "worker", "scheduler-edge")
    services = ("scheduler", "worker", "scheduler-edge", "dashboard-edge")
    return {service: stack.container(service) for service in services}


@pytest.fixture(scope="session")
def scheduler(cluster: dict[str, Container]) -> Container:
    """The cluster's scheduler."""
    return cluster["scheduler"]


@pytest.fixture(scope="session")
def worker(cluster: dict[str, Container]) -> Container:
    """A worker of the cluster."""
    return cluster["worker"]


@pytest.fixture(scope="session")
def compose_config(images: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The compose file with all profiles, as Compose understands it."""
    stack = Stack(tmp_path_factory.mktemp("config"))
    content: dict[str, Any] = json.loads(stack.compose("--profile", "*", "config", "--format", "json").stdout)
    return content


@pytest.fixture(scope="session")
def docker_info(images: None) -> dict[str, Any]:
    """What the engine says about itself."""
    info: dict[str, Any] = docker.from_env().info()
    return info


@pytest.fixture(scope="session")
def tracked_files() -> list[Path]:
    """The files that git tracks."""
    root = HERE.parents[1]
    done = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [root / name for name in done.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def clone(tracked_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of these files on the branch `main`, with a tag of a higher version."""
    from .next_version import NEXT, make_clone

    folder = tmp_path_factory.mktemp("clone")
    make_clone(tracked_files, folder, NEXT)
    return folder


@pytest.fixture(scope="module")
def older(new_stack: NewStack) -> Iterator[Stack]:
    """A stack of these files, under image names of its own, which a clone's scripts may take to a higher version."""
    from .next_version import own_images

    with new_stack() as stack, own_images(stack):
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def program() -> str:
    """The path of Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return find_program(*names, install="Chromium (Debian: chromium, fonts-liberation)")


@pytest.fixture(scope="module")
def outside(program: str) -> Iterator[tuple[str, list[str]]]:
    """The internet: a proxy that notes what is asked of it."""
    with recording_proxy() as proxy:
        yield proxy


# For a module, not for all: an event loop runs while it is there.
@pytest.fixture(scope="module")
def browser(program: str) -> Iterator[Browser]:
    """Chromium."""
    with chromium(program) as browser:
        yield browser
