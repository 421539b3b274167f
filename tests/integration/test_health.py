"""A health check is green when clients are served, and red when they are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from .stack import SERVERS, Stack, wait_until

PATH = "/api/2.0/mlflow/experiments/search?max_results=1"


def status_as(stack: Stack, host: str) -> requests.Response:
    """Returns the server's answer to a client that calls it by this name."""
    return requests.get(stack.url + PATH, headers={"Host": host}, timeout=30)


@pytest.mark.parametrize(
    "host", ["mlflow:5000", "mlflow", "localhost:5000", "localhost:55000", "127.0.0.1:5000", "[::1]:5000"]
)
def test_server_answers_by_its_own_names(stack: Stack, host: str) -> None:
    answer = status_as(stack, host)
    assert answer.status_code == 200, answer.text
    assert answer.json()["experiments"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "mlflow.evil.example", "localhost.evil.example"])
def test_server_refuses_foreign_names(stack: Stack, host: str) -> None:
    answer = status_as(stack, host)
    assert answer.status_code == 403
    assert "Invalid Host header" in answer.text


def test_server_shows_its_ui(stack: Stack) -> None:
    answer = requests.get(stack.url, timeout=30)
    assert answer.status_code == 200
    assert "<title>MLflow</title>" in answer.text


def test_server_starts_without_a_warning(stack: Stack) -> None:
    start, running, _ = stack.logs("mlflow").partition("Uvicorn running")
    assert running
    assert "Warning" not in start


def test_servers_have_health_checks_that_pass(stack: Stack) -> None:
    assert {service: stack.health(service) for service in SERVERS} == dict.fromkeys(SERVERS, "healthy")


def test_server_unhealthy_without_database(crash_stack: Stack) -> None:
    """Server is unhealthy while the database is away."""
    crash_stack.wait_healthy()
    crash_stack.compose("stop", "postgres")
    try:
        wait_until(lambda: crash_stack.health("mlflow") == "unhealthy", "mlflow is unhealthy without its database")
    finally:
        crash_stack.compose("start", "postgres")
    crash_stack.wait_healthy("postgres", "mlflow")
    assert status_as(crash_stack, "mlflow:5000").status_code == 200


@pytest.mark.minio  # MinIO keeps files on a drive of its own; Cloud Storage has none to lose
def test_storage_health_check_sees_a_lost_drive(crash_stack: Stack) -> None:
    """Health check of the storage sees a lost drive."""
    crash_stack.wait_healthy("minio")
    crash_stack.exec("minio", "mv", "/data/.minio.sys", "/data/.away")
    try:
        wait_until(lambda: crash_stack.health("minio") == "unhealthy", "minio is unhealthy without its drive")
    finally:
        crash_stack.exec("minio", "bash", "-c", "rm -rf /data/.minio.sys && mv /data/.away /data/.minio.sys")
        crash_stack.compose("restart", "minio")
    crash_stack.wait_healthy("minio")


@pytest.mark.minio  # the one storage here that can be frozen
def test_storage_that_hangs_takes_no_tracking_down(crash_stack: Stack) -> None:
    crash_stack.wait_healthy()
    artifacts = f"{crash_stack.url}/api/2.0/mlflow-artifacts/artifacts"
    with ThreadPoolExecutor(60) as clients:
        crash_stack.container("minio").pause()
        try:
            waiting = [clients.submit(requests.get, artifacts, timeout=60) for _ in range(60)]
            for _ in range(3):
                assert requests.get(crash_stack.url + PATH, timeout=5).status_code == 200
            assert not any(request.done() for request in waiting)
        finally:
            crash_stack.container("minio").unpause()
        assert {request.result().status_code for request in waiting} == {200}
