"""Which version of the stack this is, is said by its images, its commands and its log, and recorded beside its data."""

from __future__ import annotations

import tomllib

import pytest

from .stack import ROOT, STORAGE, Stack
from .test_lifecycle import create_database

VERSION = tomllib.loads((ROOT / "services/trainer/pyproject.toml").read_text())["project"]["version"]


def test_every_image_is_labelled_with_the_version(stack: Stack) -> None:
    names = stack.compose("--profile", "*", "--profile", STORAGE, "config", "--images").stdout.split()
    # Those that are built here by now: a profile that no test has used has none.
    images = [image for image in stack.docker.images.list() if set(image.tags) & set(names)]
    assert len(images) >= 6
    assert {image.labels.get("org.opencontainers.image.version") for image in images} == {VERSION}


def test_commands_and_log_say_the_version(stack: Stack) -> None:
    assert stack.run_trainer("--version").stdout == f"trainer {VERSION}\n"
    said = stack.exec("mlflow", "replica-server", "version")
    assert said.startswith(f"mlflow-replica {VERSION}, MLflow 3.")
    assert f"mlflow: version {VERSION} of this stack, MLflow 3." in stack.logs("mlflow")
    assert stack.sql("SELECT version FROM replica.stack") == [[VERSION]]


def test_newer_data_stop_the_start_in_one_line(stack: Stack) -> None:
    settings = create_database(stack, "newer_data")
    migrate = ("run", "--rm", "--no-deps", "-T", "migrate")
    stack.compose(*migrate, settings=settings)
    code = """
import psycopg2
password = open("/run/secrets/postgres/password").read().strip()
with psycopg2.connect(dbname="newer_data", password=password) as connection:
    connection.cursor().execute("UPDATE replica.stack SET version = '99.0.0'")
"""
    stack.exec("mlflow", "python3", "-c", code)
    done = stack.compose(*migrate, check=False, settings=settings)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line == (
        f"migrate: error: the data belong to version 99.0.0 of this stack, and these files are {VERSION}: "
        "use that version, or restore a backup from before it (scripts/restore)"
    )


@pytest.mark.parametrize(("number", "more"), [("16", ", and scripts/upgrade --postgres 17 moves them"), ("18", "")])
def test_files_of_another_postgresql_are_one_line(stack: Stack, number: str, more: str) -> None:
    """Files of another major version stop the start in one line, and are left as they are."""
    script = (
        f"mkdir /tmp/data && echo {number} > /tmp/data/PG_VERSION && PGDATA=/tmp/data docker-entrypoint.sh postgres"
    )
    command = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "bash", "postgres", "-c", script)
    done = stack.compose(*command, check=False)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line == (
        f"postgres: error: the files in the volume postgres-data are PostgreSQL {number}'s, and this is PostgreSQL 17:"
        f" start the stack with POSTGRES_MAJOR={number}{more}"
    )
