"""A cluster of two workers: the same results as on one machine, and nothing left behind by kills."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from trainer.data.demo import TARGET, generate_sessions

from .conftest import NewStack
from .container_memory import MIB, held
from .stack import Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container
    from mlflow.entities import Run

SMALL = ("sweep", "--grid", "n_estimators=20,30,40", "--no-register")
SEARCH = ("search", "--trials", "3", "--jobs", "1", "--n-estimators", "20", "--no-register")
LONG = ("sweep", "--grid", "n_estimators=4000,4001,4002", "--no-register", "--json")
#: None of its variants comes to its end before it is interrupted.
ENDLESS = ("sweep", "--grid", "n_estimators=40000,40001,40002", "--no-register", "--json")


@pytest.fixture(scope="module")
def clustered(new_stack: NewStack) -> Iterator[Stack]:
    """A stack with a cluster of two workers, for tests that kill parts of it and leave it healthy again."""
    health = {"healthcheck": {"interval": "1s"}}
    with new_stack(override={"services": {"scheduler": health, "worker": health}}) as stack:
        stack.up()
        stack.up("--scale", "worker=2", "worker")
        yield stack


def workers(stack: Stack) -> list[Container]:
    """Returns the workers' containers."""
    return stack.containers("com.docker.compose.service=worker", "com.docker.compose.oneoff=False")


def children(stack: Stack, experiment: str) -> list[Run]:
    """Returns the runs of an experiment's variants."""
    client = MlflowClient(stack.url)
    found = client.get_experiment_by_name(experiment)
    runs = list(client.search_runs([found.experiment_id])) if found is not None else []
    return [run for run in runs if "mlflow.parentRunId" in run.data.tags]


def start_sweep(stack: Stack, experiment: str, running: int, sweep: tuple[str, ...] = LONG) -> Container:
    """Starts a sweep on the cluster, and waits until so many of its variants run."""
    container = stack.start_trainer(*sweep, "--cluster", "--experiment", experiment)
    wait_until(lambda: len(children(stack, experiment)) >= running, "the variants run", 90)
    return container


def end_of(container: Container) -> tuple[int, str, str]:
    """Waits for a container's end; returns its exit code and what it printed."""
    code = int(container.wait(timeout=400)["StatusCode"])
    out, err = container.logs(stderr=False).decode(), container.logs(stdout=False).decode()
    return code, out, err


def statuses(stack: Stack, experiment: str) -> list[str]:
    """Returns the statuses of all runs of an experiment, sorted."""
    client = MlflowClient(stack.url)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return sorted(run.info.status for run in client.search_runs([found.experiment_id]))


def test_idle_memory(clustered: Stack) -> None:
    """Before the first task, without the pages of library files, which the workers on a machine share."""
    assert max(held(one) for one in workers(clustered)) <= 220 * MIB
    assert held(clustered.container("scheduler")) <= 120 * MIB


def test_sweep_has_the_same_metrics_to_the_bit(clustered: Stack) -> None:
    there = clustered.train(*SMALL, "--cluster", "--experiment", "there")
    here = clustered.train(*SMALL, "--experiment", "here")
    assert [one["metrics"] for one in there["variants"]] == [one["metrics"] for one in here["variants"]]
    assert statuses(clustered, "there") == ["FINISHED"] * 4


def test_sweep_in_passes_has_the_same_metrics(clustered: Stack) -> None:
    """The workers read the files themselves, the test file too; without the cluster, the tables are in memory."""
    table = generate_sessions(4000, seed=9)
    # The names make them no training data by themselves.
    (clustered.data / "_train").mkdir()
    for number in range(3):
        table.iloc[1000 * number : 1000 * (number + 1)].to_csv(
            clustered.data / f"_train/part-{number}.csv", index=False
        )
    table.iloc[3000:].to_csv(clustered.data / "_test.csv", index=False)
    tested = ("--data", "/data/_train", "--test", "/data/_test.csv", "--target", TARGET)
    there = clustered.train(*SMALL, *tested, "--stream", "always", "--cluster", "--experiment", "passes there")
    here = clustered.train(*SMALL, *tested, "--stream", "never", "--experiment", "passes here")
    assert [one["metrics"] for one in there["variants"]] == [one["metrics"] for one in here["variants"]]


def test_workers_of_a_machine_share_a_table(clustered: Stack) -> None:
    """Both have mapped the same file, which one of them has fetched."""
    clustered.train(*SMALL, "--cluster", "--again", "--experiment", "shared")
    mapped = "cat /proc/[0-9]*/maps | grep --only-matching '/tables/[0-9a-f]*' | sort --unique"
    look = [("exec", "-T", "--index", str(number), "worker", "sh", "-c", mapped) for number in (1, 2)]
    first, second = (set(clustered.compose(*arguments).stdout.split()) for arguments in look)
    assert first & second


def test_search_has_the_same_trials(clustered: Stack) -> None:
    there = clustered.train(*SEARCH, "--study", "there", "--experiment", "search there", "--cluster")
    here = clustered.train(*SEARCH, "--study", "here", "--experiment", "search here")
    assert [one["overrides"] for one in there["variants"]] == [one["overrides"] for one in here["variants"]]
    assert [one["metrics"] for one in there["variants"]] == [one["metrics"] for one in here["variants"]]


def test_setting_sends_sweeps_to_the_cluster(clustered: Stack) -> None:
    done = clustered.run_trainer(*SMALL, "--again", env={"TRAINER_CLUSTER": "tls://scheduler:8786"})
    assert done.returncode == 0, done.stderr
    assert "2 at a time on the cluster tls://scheduler:8786" in done.stderr


def test_killed_worker_loses_nothing(clustered: Stack) -> None:
    """Its variant is trained by another one; its half-made run says why it failed; no variant is finished twice."""
    # Looked up before: on a busy machine the engine's answer takes as long as a variant.
    victim = workers(clustered)[0].attrs["State"]["Pid"]
    sweep = start_sweep(clustered, "killed", 2)
    clustered.signal_processes("KILL", victim)
    code, out, err = end_of(sweep)
    assert code == 0, err
    runs = children(clustered, "killed")
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    (failed,) = [run for run in runs if run.info.status == "FAILED"]
    assert failed.data.tags["failure_reason"].startswith("worker ")
    assert failed.data.tags["failure_reason"].endswith(" died")
    finished = {run.info.run_id for run in runs if run.info.status == "FINISHED"}
    assert {one["run_id"] for one in json.loads(out)["variants"]} == finished
    # It comes back by itself.
    wait_until(
        lambda: {clustered_health(one) for one in workers(clustered)} == {"healthy"}, "both workers are back", 120
    )


def clustered_health(container: Container) -> str:
    """Returns a container's health."""
    container.reload()
    return str(container.attrs["State"]["Health"]["Status"])


def test_killed_scheduler_ends_the_sweep_in_one_line(clustered: Stack) -> None:
    """Nothing shows as running, and the same command goes on when the scheduler is back, which takes no one's hand."""
    sweep = start_sweep(clustered, "headless", 3)
    clustered.kill("scheduler")
    code, _, err = end_of(sweep)
    assert code == 1
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line == (
        "trainer: error: tls://scheduler:8786: the scheduler is gone; the same command goes on where this one was"
    )
    assert set(statuses(clustered, "headless")) <= {"FAILED", "KILLED", "FINISHED"}
    finished = sum(run.info.status == "FINISHED" for run in children(clustered, "headless"))
    assert 1 <= finished < 3
    clustered.wait_healthy("scheduler")
    again = clustered.run_trainer(*LONG, "--cluster", "--experiment", "headless")
    assert again.returncode == 0, again.stderr
    assert f"{finished} of 3 variants finished before" in again.stderr


def test_interrupt_ends_the_variants(clustered: Stack) -> None:
    sweep = start_sweep(clustered, "interrupted", 2, ENDLESS)
    sweep.kill("SIGINT")
    code, _, err = end_of(sweep)
    assert (code, err.splitlines()[-1]) == (130, "trainer: error: interrupted")
    assert set(statuses(clustered, "interrupted")) == {"KILLED"}
    # The workers are free for the next sweep.
    assert clustered.train(*SMALL, "--cluster", "--again")["variants"]


# Kills the worker's process, which is the first child of the container's init.
KILL = "import os; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)"


def fits(container: Container) -> bool:
    """Tells whether a worker fits its part of a model."""
    container.reload()
    return container.status == "running" and "fit_child" in str(container.top())


def test_distributed_fit_survives_a_killed_worker(clustered: Stack) -> None:
    """It starts again on the worker that is left; the run is like any other, and no process stays behind."""
    wait_until(lambda: {clustered_health(one) for one in workers(clustered)} == {"healthy"}, "both are there", 120)
    # So many that each worker has its part: fewer rows are one worker's.
    (clustered.data / "_joint").mkdir()
    generate_sessions(160_000, seed=9).to_csv(clustered.data / "_joint" / "sessions.csv", index=False)
    data = ("--data", "/data/_joint/sessions.csv", "--target", TARGET)
    size = ("--n-estimators", "1500", "--num-leaves", "15")
    fit = clustered.start_trainer("train", "--distributed", *data, *size, "--experiment", "joint", "--json")
    wait_until(lambda: all(map(fits, workers(clustered))), "both workers fit", 90)
    # From inside, which is sooner done: the fit goes on meanwhile.
    clustered.exec(workers(clustered)[0], "python3", "-S", "-c", KILL)
    code, out, err = end_of(fit)
    assert code == 0, err
    assert err.count("the fit starts again on the workers that are left") == 1
    assert statuses(clustered, "joint") == ["FINISHED"]
    assert json.loads(out)["metrics"]["average_precision"] > 0.5
    wait_until(lambda: not any(map(fits, workers(clustered))), "no worker fits any more")


@pytest.fixture(scope="module")
def sessions(clustered: Stack) -> str:
    """A table in eight files where the trainer and the workers read it; the folder's name makes it no training data."""
    folder = clustered.data / "_sessions"
    folder.mkdir()
    table = generate_sessions(320_000, seed=8).drop(columns=TARGET)
    for number in range(8):
        table.iloc[40_000 * number : 40_000 * (number + 1)].to_csv(folder / f"part-{number}.csv", index=False)
    return "/data/_sessions"


def test_files_are_scored_though_a_worker_dies(clustered: Stack, sessions: str, tmp_path: Path) -> None:
    """A part file each, of the user's, as without the cluster; the worker is killed after the first part."""
    model = clustered.train("--n-estimators", "100", "--experiment", "scored")["model_uri"]
    folders = tmp_path / "here", tmp_path / "there"
    for folder in folders:
        folder.mkdir()
        folder.chmod(0o755)
    predict = ("predict", "--model", model, "--data", sessions, "--out", "/out")
    here = clustered.run_trainer(*predict, out=folders[0], user=os.getuid())
    assert here.returncode == 0, here.stderr
    victim = workers(clustered)[0].attrs["State"]["Pid"]
    there = clustered.start(
        "trainer",
        *(*predict, "--cluster", "--json"),
        options=["--user", str(os.getuid())],
        settings={"DATA_DIR": str(clustered.data), "OUT_DIR": str(folders[1])},
    )
    wait_until(lambda: any(folders[1].glob("part-*")), "a part is whole", 120)
    clustered.signal_processes("KILL", victim)
    code, out, err = end_of(there)
    assert code == 0, err
    assert json.loads(out)["rows"] == 320_000
    parts = [{path.name: path.read_bytes() for path in folder.glob("*.csv")} for folder in folders]
    assert len(parts[0]) == 8
    assert parts[1] == parts[0]
    assert {path.stat().st_uid for path in folders[1].iterdir()} == {os.getuid()}
    wait_until(
        lambda: {clustered_health(one) for one in workers(clustered)} == {"healthy"}, "both workers are back", 120
    )


def test_missing_cluster_is_one_line(stack: Stack) -> None:
    done = stack.run_trainer(*SMALL, "--cluster", "tls://nowhere:8786", "--wait", "1")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line.startswith("trainer: error: tls://nowhere:8786: no scheduler answers: ")


HANDSHAKE = """
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if {own}:
    context.load_cert_chain("/run/secrets/cluster/certificate.pem", "/run/secrets/cluster/key.pem")
try:
    with socket.create_connection(("scheduler", 8786), 10) as plain, context.wrap_socket(plain) as secure:
        print(len(secure.recv(1)))
except ssl.SSLError as error:
    print(error.reason)
"""


def test_no_connection_without_certificate(clustered: Stack) -> None:
    container = clustered.start_trainer("infinity", entrypoint="sleep")
    said: dict[bool, Any] = {
        own: clustered.exec(container, "python3", "-c", HANDSHAKE.format(own=own)).strip() for own in (True, False)
    }
    assert said[True] == "1"
    assert "CERTIFICATE_REQUIRED" in said[False]
