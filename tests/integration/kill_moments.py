"""What clients are busy with when something is killed, and a ledger of what they were told is done.

Each kind of work goes on until it is ended, and can then prove from the stores themselves that everything that was
acknowledged is there, and that nothing else is half there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from .container_memory import MIB
from .stack import Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

#: How long clients may need to get through again after a fault has ended, in seconds. Their pauses between attempts
#: grow up to 16 seconds.
RECOVERY = 120.0


class Work(ABC):
    """Something that goes on while a fault comes and goes.

    Args:
        stack: The stack, healthy.
        name: Free for experiments, models and the like.
        fault: What will happen: a command that is killed itself ends otherwise than one beside which a server is.
    """

    def __init__(self, stack: Stack, name: str, fault: str) -> None:
        self.stack, self.name, self.fault = stack, name, fault
        self.client = MlflowClient(stack.url, stack.url)
        self.experiment = self.client.create_experiment(name)

    @abstractmethod
    def begin(self) -> None:
        """Starts the work, and waits until it is under way."""

    @abstractmethod
    def end(self) -> None:
        """Waits until the work has gone on after the fault, and ends it. Raises what the clients were told."""

    @abstractmethod
    def verify(self) -> None:
        """Proves that what was acknowledged is there, and nothing is half there."""


class Clients(Work):
    """Several clients that do one thing over and over, through MLflow's client and its own repetitions."""

    number: ClassVar[int]
    #: How often each has to be done before the fault comes.
    before: ClassVar[int] = 3

    def begin(self) -> None:
        """Starts the clients, and waits until each has been acknowledged a few times."""
        self.acknowledged = [0] * self.number
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(self.number)
        self._busy: list[Future[None]] = [self._pool.submit(self._repeat, client) for client in range(self.number)]
        self._wait_for(self.before)

    def end(self) -> None:
        """Waits until each client has got through again twice: the first may have begun before the fault."""
        try:
            self._wait_for(2)
        finally:
            self._over.set()
            self._pool.shutdown()
        for client in self._busy:
            client.result()

    @abstractmethod
    def act(self, client: int, number: int) -> None:
        """Does the thing once; returns when it is acknowledged."""

    def _repeat(self, client: int) -> None:
        while not self._over.is_set():
            self.act(client, self.acknowledged[client])
            self.acknowledged[client] += 1

    def _wait_for(self, more: int) -> None:
        goals = [count + more for count in self.acknowledged]

        def reached() -> bool:
            for client in self._busy:
                if client.done():
                    client.result()
            return all(count >= goal for count, goal in zip(self.acknowledged, goals, strict=True))

        wait_until(reached, f"{self.name}: each client is acknowledged {more} times more", RECOVERY)


class Logging(Clients):
    """Clients that log metrics, 100 at a time, each to a run of its own."""

    number = 4
    batch = 100

    def begin(self) -> None:
        """Creates the runs and starts."""
        self.runs = [self.client.create_run(self.experiment).info.run_id for _ in range(self.number)]
        super().begin()

    def act(self, client: int, number: int) -> None:
        """Logs the next batch: each value is its step."""
        now = int(time.time() * 1000)
        steps = range(number * self.batch, (number + 1) * self.batch)
        self.client.log_batch(self.runs[client], metrics=[Metric("loss", float(step), now, step) for step in steps])

    def verify(self) -> None:
        """Reads the rows in the database: each batch is there once, whole, and nothing else."""
        for run_id, count in zip(self.runs, self.acknowledged, strict=True):
            rows = self.stack.sql("SELECT step, value FROM metrics WHERE run_uuid = %s ORDER BY step", run_id)
            assert rows == [[step, float(step)] for step in range(count * self.batch)]
            assert self.client.get_run(run_id).data.metrics == {"loss": count * self.batch - 1.0}


class Uploading(Clients):
    """Clients that upload files of 20 MiB, each of other content."""

    number = 2
    before = 1

    def begin(self) -> None:
        """Creates the run and starts."""
        self.run = self.client.create_run(self.experiment).info.run_id
        #: What each object has to hold, by its name. What is on its way is there as well: it may have arrived.
        self.sent: dict[str, str] = {}
        super().begin()

    def act(self, client: int, number: int) -> None:
        """Uploads another file."""
        content = os.urandom(20 * MIB)
        name = f"{client}-{number}.bin"
        self.sent[f"{self.experiment}/{self.run}/artifacts/{name}"] = hashlib.sha256(content).hexdigest()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            self.client.log_artifact(self.run, str(file))

    def verify(self) -> None:
        """Reads the objects in the bucket: all are there, byte for byte, and no other."""
        assert self.stack.object_names(f"{self.experiment}/{self.run}/") == set(self.sent)
        stored = {name: hashlib.sha256(self.stack.object_content(name)).hexdigest() for name in self.sent}
        assert stored == self.sent


class Registering(Clients):
    """Clients that register versions, each of a model of its own, and move an alias and a tag to each."""

    number = 3

    def begin(self) -> None:
        """Creates a run with something in it, and the registered models."""
        run = self.client.create_run(self.experiment).info
        self.client.log_text(run.run_id, "flavors: {}", "model/MLmodel")
        self.source, self.run = f"{run.artifact_uri}/model", run.run_id
        self.versions: list[list[int]] = [[] for _ in range(self.number)]
        for client in range(self.number):
            self.client.create_registered_model(self._model(client))
        super().begin()

    def _model(self, client: int) -> str:
        return f"{self.name} {client}"

    def act(self, client: int, number: int) -> None:
        """Registers a version."""
        model = self._model(client)
        version = self.client.create_model_version(model, self.source, self.run).version
        self.client.set_model_version_tag(model, version, "number", str(number))
        self.client.set_registered_model_alias(model, "newest", version)
        self.versions[client].append(int(version))

    def verify(self) -> None:
        """Reads the versions, tags and aliases in the database. A version whose answer was lost was made again."""
        for client, versions in enumerate(self.versions):
            model = self._model(client)
            rows = self.stack.sql(
                """SELECT version, source, run_id, status, value FROM model_versions
                   LEFT JOIN model_version_tags USING (name, version) WHERE name = %s""",
                model,
            )
            assert [row[1:4] for row in rows] == [[self.source, self.run, "READY"]] * len(rows)
            tags = {int(version): tag for version, *_, tag in rows if tag is not None}
            assert tags == {version: str(number) for number, version in enumerate(versions)}
            alias = self.stack.sql("SELECT version FROM registered_model_aliases WHERE name = %s", model)
            assert alias == [[versions[-1]]]


class Searching(Clients):
    """Clients that search for 60 runs and read a metric's history: each answer is whole."""

    number = 4

    def begin(self) -> None:
        """Creates the runs, and a history."""
        with ThreadPoolExecutor(8) as pool:
            runs = list(pool.map(lambda _: self.client.create_run(self.experiment).info.run_id, range(60)))
        self.runs = set(runs)
        self.run = runs[0]
        self.client.log_batch(self.run, metrics=[Metric("loss", 1.0, 0, step) for step in range(1000)])
        super().begin()

    def act(self, client: int, number: int) -> None:  # noqa: ARG002 - all clients do the same
        """Searches once. An answer that broke off is told as that, and MLflow's client does not ask again by itself."""
        try:
            found = self.client.search_runs([self.experiment], max_results=1000)
            history = self.client.get_metric_history(self.run, "loss")
        except MlflowException as error:
            if not re.search("Response ended prematurely|Connection broken", str(error)):
                raise
            return
        assert {run.info.run_id for run in found} == self.runs
        assert len(history) == 1000

    def verify(self) -> None:
        """Each answer has been compared as it came."""


class Command(Work):
    """One command of the trainer, in its container."""

    container: Container

    def processes(self) -> list[list[str]]:
        """Returns the processes in the container: each one's id on the host, its parent's, and its command line."""
        listed: list[list[str]] = self.container.top(ps_args="-o pid,ppid,args")["Processes"]
        return listed

    def _result(self) -> tuple[int, str, str]:
        """Waits for the command's end; returns its exit code, output and messages."""
        code = int(self.container.wait(timeout=180)["StatusCode"])
        out, err = (self.container.logs(stdout=part, stderr=not part).decode() for part in (True, False))
        self.container.remove()
        return code, out, err

    def end(self) -> None:
        """Waits for the command."""
        self.code, self.out, self.err = self._result()
        assert "Traceback" not in self.err, self.err


class Sweeping(Command):
    """A sweep of four variants, which logs, uploads and ends its runs side by side."""

    trees = (150, 160, 170, 180)

    def begin(self) -> None:
        """Starts the sweep, and waits for the first variant's losses."""
        self.container = self._start()
        query = """SELECT count(*) FROM runs JOIN tags USING (run_uuid)
                   WHERE experiment_id = %s AND key = 'mlflow.parentRunId'"""
        wait_until(lambda: self.stack.sql(query, int(self.experiment)) != [[0]], "the first variant has begun", 90)

    def _start(self) -> Container:
        variants = ["--grid", f"n_estimators={','.join(map(str, self.trees))}"]
        return self.stack.start_trainer("sweep", *variants, "--experiment", self.name, "--no-register", "--json")

    def _variants(self, status: str) -> list[str]:
        """Returns the ids of the variants' runs of this status."""
        query = """SELECT run_uuid FROM runs JOIN tags USING (run_uuid)
                   WHERE experiment_id = %s AND status = %s AND key = 'mlflow.parentRunId'"""
        return [run_id for (run_id,) in self.stack.sql(query, int(self.experiment), status)]

    def verify(self) -> None:
        """The sweep ended well in spite of the fault; or, killed itself, goes on when it is given again."""
        if self.fault == "trainer killed":
            assert self.code == 137
            self.container = self._start()
            self.code, self.out, self.err = self._result()
        elif self.fault == "worker killed":
            assert self.code == 1
            assert "its process died" in self.err
            assert self._variants("RUNNING") == []
            self.container = self._start()
            self.code, self.out, self.err = self._result()
        assert self.code == 0, self.err
        finished = self._variants("FINISHED")
        assert len(finished) == len(self.trees)
        if self.fault != "trainer killed":
            running = self.stack.sql(
                "SELECT name FROM runs WHERE status = 'RUNNING' AND experiment_id = %s", int(self.experiment)
            )
            assert running == []
        params = """SELECT run_uuid, params.value, count(step) FROM params JOIN metrics USING (run_uuid)
                    WHERE run_uuid = ANY(%s) AND params.key = 'n_estimators' AND metrics.key = 'validation_log_loss'
                    GROUP BY run_uuid, params.value"""
        rows = self.stack.sql(params, finished)
        assert sorted((int(trees), steps) for _, trees, steps in rows) == [(trees, trees) for trees in self.trees]
        for run_id in finished:
            assert (
                len([name for name in self.stack.object_names(f"{self.experiment}/{run_id}/") if name.endswith(".png")])
                == 6
            )


class Promoting(Command):
    """A promotion: the alias is the new version's if it was said so, and otherwise the old one's."""

    policy: ClassVar[Mapping[str, Any]] = {"minimum": False, "champion": False, "latency_ms": False}

    def begin(self) -> None:
        """Registers two versions, the first of them champion, and starts the promotion of the second."""
        (self.stack.data / "policy.yaml").write_text(json.dumps(self.policy))
        for trees in (5, 6):
            self.stack.train("--n-estimators", str(trees), "--register", "--model-name", self.name)
        self.client.set_registered_model_alias(self.name, "champion", "1")
        promote = ("promote", "--model-name", self.name, "--version", "2", "--policy", "/data/policy.yaml", "--logged")
        self.container = self.stack.start_trainer(*promote)
        wait_until(lambda: "sandbox_child" in str(self.processes()), "the version is loaded in a clean process", 60)

    def verify(self) -> None:
        """Reads the alias in the database."""
        expected = {0: 2, 1: 1, 137: 1}[self.code]
        alias = self.stack.sql("SELECT version FROM registered_model_aliases WHERE name = %s", self.name)
        assert alias == [[expected]], self.err
        if self.fault != "trainer killed":
            assert self.code == 0, self.err


MOMENTS: Mapping[str, type[Work]] = {
    "logging metrics": Logging,
    "uploading 20 MiB": Uploading,
    "registering": Registering,
    "searching": Searching,
    "a sweep": Sweeping,
    "a promotion": Promoting,
}
