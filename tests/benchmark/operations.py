"""What operating a filled stack takes: its first start, backups, a restore drill, an upgrade.

    scripts/benchmark --operations [--runs 10000] [--megabytes 5000]

It works in a clone of these files, on a stack of its own with the images that are here, and removes both. Backups
and the second copy of the drill need three times the artifacts' size on the disk.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from tests.integration.next_version import make_clone

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "mlflow-replica-operations"
PREFIX = "mlflow-replica"
NEXT = "99.0.0"
CLIENTS = 8
# An artifact's bytes, and so how many runs have one.
PIECE = 5 * 10**6


class Bench:
    """A stack in a clone.

    Args:
        folder: Where the clone is.
        tag: The tag of the images that are here.
    """

    def __init__(self, folder: Path, tag: str) -> None:
        self.folder, self.tag = folder, tag
        settings = {"COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_PROFILES": "minio", "IMAGE_TAG": PROJECT}
        self.environment = {**os.environ, **settings, "COMPOSE_FILE": "compose.yaml", "MLFLOW_PORT": "0"}

    def run(self, *command: str) -> str:
        """Returns what a command prints; exits with what it said when it fails."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"operations: error: {' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def tag_images(self) -> None:
        """Gives the images that are here the names of this stack; an upgrade builds some of them anew."""
        for image in docker.from_env().images.list():
            for name in image.tags:
                repository, _, tag = name.rpartition(":")
                if tag == self.tag and repository.startswith(f"{PREFIX}-"):
                    image.tag(repository, PROJECT)

    def remove(self) -> None:
        """Removes the stack and the names of its images."""
        self.run("docker", "compose", "--progress", "quiet", "--profile", "*", "down", "--volumes", "--remove-orphans")
        engine = docker.from_env()
        for image in engine.images.list():
            for name in image.tags:
                if name.rpartition(":")[2].startswith(PROJECT):
                    engine.images.remove(name, force=True)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://{self.run('docker', 'compose', 'port', 'edge', '5000').strip()}"

    def fill(self, runs: int, megabytes: int, name: str) -> None:
        """Logs runs with parameters and metrics, as many of them with an artifact as the bytes need."""
        server, pieces = self.url, megabytes * 10**6 // PIECE
        client = MlflowClient(server)
        experiment = client.create_experiment(name)

        def one(number: int) -> None:
            run = client.create_run(experiment, run_name=f"run {number}").info
            metrics = [Metric(f"m{which}", number / (which + 1), 1, step) for which in range(5) for step in range(10)]
            client.log_batch(run.run_id, metrics, [Param(f"p{which}", str(number)) for which in range(10)])
            if number < pieces:
                place = f"{experiment}/{run.run_id}/artifacts/weights.bin"
                address = f"{server}/api/2.0/mlflow-artifacts/artifacts/{place}"
                requests.put(address, data=os.urandom(PIECE), timeout=300).raise_for_status()
            client.set_terminated(run.run_id)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(one, range(runs)))


def measure(what: str, limit: float, work: Callable[[], object]) -> None:
    """Prints how long something takes, beside what it may take."""
    begin = time.perf_counter()
    work()
    print(f"{what:64} {time.perf_counter() - begin:7.1f} s   (at most {limit:g})", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark --operations")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=5_000)
    options = parser.parse_args()
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    if options.megabytes * 10**6 // PIECE > options.runs:
        parser.error(f"each run has one artifact of {PIECE // 10**6} MB at most: more --runs, or fewer --megabytes")
    filled = f"of {options.runs:,} runs and {options.megabytes:,} MB"
    with tempfile.TemporaryDirectory(prefix="operations-") as name:
        folder = Path(name) / "clone"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        make_clone([ROOT / file for file in listed.splitlines()], folder, NEXT)
        bench = Bench(folder, os.environ.get("IMAGE_TAG", "local"))
        bench.tag_images()
        try:
            up = ("docker", "compose", "--progress", "quiet", "up", "--detach", "--wait")
            measure("first start from images that are here", 20, lambda: bench.run(*up))
            bench.fill(options.runs, options.megabytes, "filled")
            measure(f"first backup {filled}", 3600, lambda: bench.run("scripts/backup"))
            bench.fill(10, 10, "since")
            measure("second backup", 30, lambda: bench.run("scripts/backup"))
            measure("restore drill", 300, lambda: bench.run("scripts/backup", "--verify", "backups"))
            measure(f"upgrade {filled}, a backup included", 180, lambda: bench.run("scripts/upgrade", NEXT))
        finally:
            bench.remove()


if __name__ == "__main__":
    main()
