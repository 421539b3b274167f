"""The composed stack passes its own checks, from a container and from the host; nothing is left but what is named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .stack import COMPOSE_FILE, ROOT, Stack


def shown(client: MlflowClient) -> set[str]:
    """Returns the names of the experiments and registered models that the server shows."""
    names = [one.name for one in client.search_experiments()] + [one.name for one in client.search_registered_models()]
    return {name for name in names if name.startswith("trainer-verify-")}


def test_replica_passes_all_checks(stack: Stack, client: MlflowClient) -> None:
    """Replica passes all checks and names what is left."""
    done = stack.run_trainer("verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["conforms"] is True
    assert len(report["checks"]) >= 18
    details = {one["check"]: one["detail"] for one in report["checks"]}
    assert details["server version"].endswith("; the server is the replica's")
    assert "replaces it, as in the replica with ARTIFACT_OVERWRITE=allow" in details["overwriting an artifact"]
    assert shown(client) == set()
    files, rows = report["left"]
    assert rows.startswith(f"rows of experiment {report['experiment']} (")
    # As many objects as it says, where it says.
    named = re.match(r"(\d+) objects, ([\d.]+) MiB, below (\d+/) ", files)
    assert named is not None, files
    objects = stack.object_names(named[3])
    assert len(objects) == int(named[1])
    assert sum(len(stack.object_content(name)) for name in objects) / 2**20 == pytest.approx(float(named[2]), abs=0.1)


def test_script_checks_the_stack_from_the_host(stack: Stack, client: MlflowClient) -> None:
    command = [str(ROOT / "scripts" / "verify"), "--tracking-uri", stack.url, "--large-mib", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "foreign Host header" in done.stdout
    assert shown(client) == set()


def test_script_without_packages_uses_the_image(stack: Stack, tmp_path: Path) -> None:
    """Script without Python packages uses the trainer's image."""
    (tmp_path / "scripts").mkdir()
    for name in ("verify", "lib.sh"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    shutil.copy(COMPOSE_FILE, tmp_path)
    shutil.copytree(ROOT / "networks", tmp_path / "networks")
    # localhost is the machine that the script runs on, though the checks are made in a container.
    url = stack.url.replace("127.0.0.1", "localhost")
    command = [str(tmp_path / "scripts" / "verify"), "--tracking-uri", url, "--large-mib", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=stack.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["conforms"] is True
    assert not (tmp_path / ".venv").exists()


def test_localhost_in_a_container_is_explained(stack: Stack) -> None:
    done = stack.run_trainer("verify", "--tracking-uri", "http://localhost:5000", "--wait", "0")
    assert done.returncode == 2
    assert "inside a container that is the container itself" in done.stderr.splitlines()[-1]
