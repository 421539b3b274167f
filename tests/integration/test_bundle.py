"""The offline bundle: written of the images that are here, it starts a stack without registry and build."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from mlflow import MlflowClient

from .conftest import NewStack
from .stack import ROOT, Stack
from .test_version import VERSION

# A bundle has the images of MinIO's profile.
pytestmark = pytest.mark.minio


def run(stack: Stack, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script on a stack."""
    return subprocess.run(
        [str(ROOT / command[0]), *command[1:]],
        env={**os.environ, **stack.settings, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture
def empty(images: None, new_stack: NewStack) -> Iterator[Stack]:
    """A stack that is not started, under image names that nothing has yet."""
    engine = docker.from_env()
    before = {name for image in engine.images.list() for name in image.tags}
    with new_stack() as stack:
        try:
            yield stack
        finally:
            stack.remove()
            for image in engine.images.list():
                for name in set(image.tags) - before:
                    if name.endswith((f":{stack.project}", f":{VERSION}")) and name.startswith("mlflow-replica-"):
                        engine.images.remove(name, noprune=True)


def test_bundle_starts_a_stack(empty: Stack, tmp_path: Path) -> None:
    """scripts/up takes the archive: images, a healthy stack, a first sweep; later starts use the same images."""
    file = tmp_path / "bundle.tar"
    done = run(empty, "scripts/bundle", str(file))
    assert done.returncode == 0, done.stderr
    tag = empty.environment["IMAGE_TAG"]
    empty.environment["IMAGE_TAG"] = empty.project
    assert not [image for image in empty.docker.images.list() for name in image.tags if name.endswith(empty.project)]

    done = run(empty, "scripts/up", "--bundle", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"==> loaded version {VERSION} from {file}\n" in done.stderr
    # 1.7 GB, which pytest would keep.
    file.unlink()
    assert not [line for line in done.stderr.splitlines() if "building" in line.lower() or "pull" in line.lower()]
    for service in ("postgres", "minio", "mlflow", "edge"):
        used = empty.container(service).image
        assert used
        assert used.id == empty.docker.images.get(f"mlflow-replica-{service}:{tag}").id
    client = MlflowClient(empty.url)
    experiment = client.get_experiment_by_name("purchase_predict")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 4

    server = empty.container("mlflow").id
    done = run(empty, "scripts/up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"==> the images are those of the bundle of version {VERSION} that was loaded\n" in done.stderr
    assert empty.container("mlflow").id == server


def test_cut_bundle_starts_nothing(empty: Stack, tmp_path: Path) -> None:
    """An archive that is not whole is one line, and neither an image nor a container."""
    file = tmp_path / "cut.tar"
    file.write_bytes(bytes(1 << 20))
    empty.environment["IMAGE_TAG"] = empty.project
    done = run(empty, "scripts/up", "--bundle", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"bundle: error: {file} is no bundle, or not whole")
    assert done.stderr.count("\n") == 1
    assert empty.containers() == []
