"""A cluster on this machine for tests: a scheduler and workers, each a process, with certificates of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.parallel.cluster.credentials import Credentials
from trainer.parallel.cluster.remote_pool import ClusterPool

from .. import programs

GENERATE = Path(__file__).parents[4] / "services/secrets/generate-cluster"
#: A worker that imports nothing before its first task, of another version of the code where one is named. Where a file
#: is named last, its first fit stops half-way, makes the file, and goes no further: the worker can be killed there.
WORKER = """
import sys
from pathlib import Path
from trainer.parallel.cluster import code_version
if sys.argv[3]:
    code_version.code_version = lambda: sys.argv[3]
from trainer.parallel.cluster.credentials import Credentials
from trainer.parallel.cluster.working import run_worker
from trainer.tracking.settings import configure
configure()
if sys.argv[7]:
    import threading
    from trainer.runs import train
    def stop(state):
        if state.iteration == state.end_iteration // 2:
            Path(sys.argv[7]).touch()
            threading.Event().wait()
    inner = train.fit_variant
    train.fit_variant = lambda *given, callbacks, **more: inner(*given, callbacks=[*callbacks, stop], **more)
room, ready, tables = int(sys.argv[4]), Path(sys.argv[5]), Path(sys.argv[6]) if sys.argv[6] else None
credentials = Credentials.find(Path(sys.argv[2]))
sys.exit(run_worker(sys.argv[1], credentials, room=room, preload=(), patience=30, ready=ready, tables=tables))
"""


def make_certificates(folder: Path) -> Path:
    """Make an authority and the certificates of a cluster, as the stack's service does; return the folder."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    subprocess.run(["bash", str(GENERATE), str(folder)], check=True, capture_output=True)
    return folder


class LocalCluster:
    """A scheduler and workers, started one by one.

    Args:
        folder: An empty folder for what they write.
        options: Further ones of the scheduler's command.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.certificates = make_certificates(folder / "certificates")
        self.processes: list[subprocess.Popen[str]] = []
        self.scheduler, line = self._start("-m", "trainer", "scheduler", "--port", "0", *options, part="scheduler")
        self.address = line.split()[-1]

    @property
    def client(self) -> Credentials:
        """The client's certificate."""
        return Credentials.find(self.certificates / "cluster-client")

    def start_worker(
        self, code: str = "", room: int = 1 << 30, tables: Path | None = None, stops: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a worker, and wait until it takes part.

        Args:
            code: Its version of the code; by default this one's.
            room: How many bytes of data it keeps.
            tables: A folder of data that the workers share.
            stops: A file that it makes half-way in its first fit, where it then stays until it is killed.
        """
        ready = self.folder / f"ready-{len(self.processes)}"
        folder = self.certificates / "cluster-worker"
        arguments = (self.address, str(folder), code, str(room), str(ready), str(tables or ""), str(stops or ""))
        return self._start("-c", WORKER, *arguments, part="worker")[0]

    def pool(self, patience: float = 20.0) -> ClusterPool:
        """Return the workers."""
        return ClusterPool(self.address, self.client, patience)

    def wait_for_workers(self, count: int) -> None:
        """Wait until the scheduler knows so many workers of this code."""
        pool = self.pool()
        deadline = time.monotonic() + 30
        while pool.jobs != count:
            assert time.monotonic() < deadline, f"{pool.jobs} workers instead of {count}"
            time.sleep(0.1)
            pool._look()
        pool.close()

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _start(self, *args: str, part: str) -> tuple[subprocess.Popen[str], str]:
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).parent),
            "TRAINER_CLUSTER_CERTIFICATES": str(self.certificates / f"cluster-{part}"),
        }
        log = (self.folder / f"log-{len(self.processes)}").open("w")
        process = programs.start(args, env=environment, stderr=log, cwd=self.folder)
        self.processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, Path(log.name).read_text()
        return process, line


@contextmanager
def local_cluster(folder: Path, workers: int = 2, options: Sequence[str] = ()) -> Iterator[LocalCluster]:
    """Run a cluster with so many workers; see ``LocalCluster``."""
    cluster = LocalCluster(folder, options)
    try:
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.close()


def runs_of(client: MlflowClient, experiment: str) -> list[Any]:
    """Return the runs of an experiment; none where it does not exist."""
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found is not None else []


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most 90 seconds."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
