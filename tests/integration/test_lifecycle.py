"""Starts, stops, crashes and migrations: what was stored stays, and what fell comes back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import requests
from mlflow import MlflowClient

from .conftest import NewStack
from .stack import ONE_SHOTS, SERVERS, Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

MIGRATE = "from replica_server.commands import migrate; migrate.main()"
MIGRATE += "; import sys; print('mlflow imported:', 'mlflow' in sys.modules)"


def store_something(stack: Stack, name: str) -> Callable[[], None]:
    """Stores a run with an artifact; returns a function that proves that both are there."""
    client = MlflowClient(stack.url)
    run_id = client.create_run("0", run_name=name).info.run_id
    client.log_param(run_id, "colour", "blue")
    client.log_metric(run_id, "height", 1.5, step=3)
    client.log_text(run_id, f"content of {name}", "note.txt")
    client.set_terminated(run_id)

    def assert_stored() -> None:
        client = MlflowClient(stack.url)
        listed = {run.info.run_id: run for run in client.search_runs(["0"])}
        assert listed[run_id].data.params == {"colour": "blue"}
        assert listed[run_id].data.metrics == {"height": 1.5}
        # Not by the client: it remembers a run's address, and a restart moves the published port.
        note = requests.get(f"{stack.url}/get-artifact", {"run_uuid": run_id, "path": "note.txt"}, timeout=60)
        assert note.text == f"content of {name}"

    return assert_stored


def wait_for_end(container: Container, seconds: float = 120.0) -> int:
    """Waits until a container has ended and returns its exit code."""
    return int(container.wait(timeout=seconds)["StatusCode"])


def create_database(stack: Stack, name: str) -> dict[str, str]:
    """Creates an empty database beside the stack's own; returns the settings that lead a new container to it."""
    stack.sql(f"CREATE DATABASE {name}")
    return {"POSTGRES_DB": name}


def test_up_starts_the_servers_and_no_trainer(stack: Stack) -> None:
    # What other tests have started is none of it.
    started = {"serving", "serving-edge", "proxy", "scheduler", "worker", "scheduler-edge", "dashboard-edge"}
    running = set(stack.compose("ps", "--services").stdout.split())
    assert running - started == set(SERVERS)


def test_two_migrations_at_once_both_succeed(stack: Stack) -> None:
    """Two migrations and two server's at once on an empty database all succeed."""
    empty = create_database(stack, "empty")
    migrations = [stack.start("migrate", settings=empty) for _ in range(2)]
    outputs = [(wait_for_end(one), one.logs().decode()) for one in migrations]
    assert [code for code, _ in outputs] == [0, 0], outputs
    assert sum("nothing to do" in text for _, text in outputs) == 1, "the second did not wait for the first"
    servers = [stack.start("mlflow", settings=empty) for _ in range(2)]

    def healthy(server: Container) -> bool:
        server.reload()
        return bool(server.attrs["State"]["Health"]["Status"] == "healthy")

    for server in servers:
        wait_until(lambda server=server: healthy(server), "a server beside another is healthy")  # type: ignore[misc]
        assert server.attrs["RestartCount"] == 0
    for server in servers:
        server.remove(force=True)


def test_migration_of_current_schema_does_nothing(stack: Stack) -> None:
    """Migration of a current schema does nothing and loads nothing."""
    path = ("--env", "PYTHONPATH=/opt/replica-server")
    done = stack.compose("run", "--rm", "--no-deps", "-T", *path, "migrate", "python3", "-c", MIGRATE)
    assert "nothing to do" in done.stdout
    assert "mlflow imported: False" in done.stdout


def test_data_survives_down_and_up(crash_stack: Stack) -> None:
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "before down")
    volumes, secret = crash_stack.volumes(), crash_stack.postgres_password
    crash_stack.compose("down")
    assert crash_stack.containers() == []
    assert crash_stack.leftovers() == volumes
    crash_stack.up()
    assert_stored()
    assert crash_stack.postgres_password == secret


def test_servers_end_by_themselves_when_stopped(crash_stack: Stack) -> None:
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "before stop")
    crash_stack.compose("stop")
    codes = {service: crash_stack.container(service).attrs["State"]["ExitCode"] for service in SERVERS}
    # 137 is a process that did not listen and was killed when its time was over.
    assert set(codes.values()) <= {0, 143}, codes
    crash_stack.up()
    assert "not properly shut down" not in crash_stack.logs("postgres")
    assert_stored()


def test_starting_server_ends_when_stopped(crash_stack: Stack) -> None:
    """A server that is told to end in the first moments of its start does so, and is not killed later."""
    crash_stack.wait_healthy()
    server = crash_stack.container("mlflow")
    server.stop()
    server.start()
    server.reload()
    # Not before its process is there: the init itself, as process 1, does not hear SIGTERM in its own first moment.
    crash_stack.main_process(server)
    server.stop(timeout=30)
    server.reload()
    assert server.attrs["State"]["ExitCode"] == 143, server.attrs["State"]
    crash_stack.up()


@pytest.mark.parametrize("service", SERVERS)
def test_killed_server_comes_back_and_works(crash_stack: Stack, service: str) -> None:
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, f"before the crash of {service}")
    before = crash_stack.container(service).attrs["RestartCount"]
    crash_stack.kill(service)
    wait_until(lambda: crash_stack.container(service).attrs["RestartCount"] > before, f"{service} is restarted")
    crash_stack.wait_healthy()
    if service == "postgres":
        assert "automatic recovery in progress" in crash_stack.logs("postgres")
    assert_stored()
    store_something(crash_stack, f"after the crash of {service}")()


def test_everything_killed_at_once_comes_back(crash_stack: Stack) -> None:
    # As after a power failure: no order, and no one-shot service runs again.
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "before the power failure")
    before = {service: crash_stack.container(service).attrs["State"]["StartedAt"] for service in SERVERS}
    crash_stack.kill(*SERVERS)
    for service, started in before.items():
        wait_until(
            lambda service=service, started=started: (  # type: ignore[misc]
                crash_stack.container(service).attrs["State"]["StartedAt"] != started
            ),
            f"{service} is restarted",
        )
    crash_stack.wait_healthy()
    assert_stored()


def test_interrupted_first_start_goes_on(crash_stack: Stack) -> None:
    """First start that was interrupted half way goes on."""
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "before the interruption")
    crash_stack.compose("stop")
    # As a loss of power leaves it that comes while the new cluster is moved to its place.
    half = "cd $PGDATA && mkdir .whole && mv PG_VERSION base global pg_wal .whole/"
    crash_stack.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "bash", "postgres", "-euc", half)
    crash_stack.up()
    assert_stored()
    crash_stack.compose("exec", "-T", "postgres", "bash", "-c", "test ! -e $PGDATA/.whole")


@pytest.mark.parametrize("setting", ["POSTGRES_DB", "POSTGRES_USER"])
def test_fixed_name_cannot_be_changed_later(crash_stack: Stack, setting: str) -> None:
    """Name that the first start fixed cannot be changed and nothing is lost."""
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, f"before a change of {setting}")
    changed = {setting: "it's another"}
    assert crash_stack.compose("up", "--detach", "--wait", check=False, settings=changed).returncode != 0
    assert re.search(
        r"postgres: error: there is no .*it's another.* back to what they were", crash_stack.logs("postgres")
    )
    crash_stack.up()
    assert_stored()


def test_one_shots_can_be_repeated(crash_stack: Stack) -> None:
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "before the repetition")
    for service in ONE_SHOTS:
        crash_stack.compose("run", "--rm", "--no-deps", "-T", service)
    crash_stack.compose("restart", "mlflow")
    crash_stack.wait_healthy("mlflow")
    assert_stored()


@pytest.mark.minio  # The same for the gcs profile is in gcs/test_preflight.py.
def test_failed_bucket_stops_the_server(new_stack: NewStack) -> None:
    """Failed bucket keeps the server from starting on what an earlier one has prepared."""
    with new_stack() as broken:
        broken.up()
        broken.compose("down")
        # A name that no bucket can have: refused as a wrong password or a full disk would be.
        refused = {"BUCKET": "No_Bucket"}
        assert broken.compose("up", "--detach", "--wait", check=False, settings=refused).returncode != 0
        assert re.search(r"bucket: error: minio:9000: .*No_Bucket", broken.logs("bucket"))
        assert "Traceback" not in broken.logs("bucket")
        assert "error: no storage has been prepared" in broken.logs("mlflow")
        assert broken.health("mlflow") != "healthy"
        # The mistake is taken back: nothing else is needed.
        broken.up()
        assert broken.health("mlflow") == "healthy"
