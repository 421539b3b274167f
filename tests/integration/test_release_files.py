"""A release's compose.yaml comes up alone in an empty folder, from images of the published names."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests
from mlflow import MlflowClient

from .stack import ROOT, base_environment
from .test_version import VERSION

# The file of the release that has its artifacts in MinIO.
pytestmark = pytest.mark.minio


class Release:
    """A release of an owner of its own, in a folder that has nothing but its compose.yaml."""

    def __init__(self, folder: Path) -> None:
        self.name = f"replica-test-{secrets.token_hex(4)}"
        self.folder = folder / "empty"
        self.prefix = f"ghcr.io/{self.name}/mlflow-replica-"
        # What a user has set of Compose's and the stack's counts nothing; ports are the system's choice.
        self.environment = base_environment() | {"COMPOSE_PROJECT_NAME": self.name, "MLFLOW_PORT": "0"}
        # A release has its own names.
        self.local = self.environment.pop("IMAGE_PREFIX", "mlflow-replica"), self.environment.pop("IMAGE_TAG")
        script = [str(ROOT / "scripts/release-files"), "--owner", self.name, str(folder / "release")]
        subprocess.run(script, check=True, capture_output=True)
        self.folder.mkdir()
        shutil.copy(folder / "release/compose.yaml", self.folder)

    def tag_images(self) -> None:
        """Gives the images that are built here the names that they have in the registry."""
        prefix, tag = self.local
        for image in docker.from_env().images.list():
            for name in image.tags:
                if name.startswith(f"{prefix}-") and name.endswith(f":{tag}"):
                    image.tag(self.prefix + name.removeprefix(f"{prefix}-").removesuffix(f":{tag}"), VERSION)

    def compose(self, *args: str) -> str:
        """Returns what `docker compose` says in the folder."""
        done = subprocess.run(
            ["docker", "compose", *args],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{args}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def remove(self) -> None:
        """Removes the stack and the images' names."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "0")
        engine = docker.from_env()
        for image in engine.images.list():
            for name in image.tags:
                if name.startswith(self.prefix):
                    engine.images.remove(name, noprune=True)


@pytest.fixture
def release(images: None, tmp_path: Path) -> Iterator[Release]:
    """A release whose images are there."""
    # Root in a container without capabilities, and the containers' users, look into it.
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    one = Release(tmp_path)
    try:
        one.tag_images()
        yield one
    finally:
        one.remove()


def test_compose_file_alone_comes_up(release: Release) -> None:
    """The only file of an empty folder starts the stack, which a trainer's container then uses."""
    release.compose("up", "--detach", "--wait")
    services = set(release.compose("ps", "--services").split())
    assert services == {"postgres", "minio", "mlflow", "edge"}
    address = f"http://{release.compose('port', 'edge', '5000').strip()}"
    assert requests.get(f"{address}/health", timeout=60).text == "OK"
    release.compose("run", "--rm", "trainer", "--n-estimators", "5")
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("purchase_predict")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    used = {one.attrs["Config"]["Image"] for one in docker.from_env().containers.list(filters={"name": release.name})}
    assert used == {f"{release.prefix}{name}:{VERSION}" for name in services}
    assert [path.name for path in release.folder.iterdir()] == ["compose.yaml"]
