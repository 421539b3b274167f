"""Starts a stack under a Compose project of its own, finds out where it is, and has it removed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .access import Bucket, Database, MlflowStack, read_key

HERE = Path(__file__).parent
# What a wheel of the package has inside; a clone has its compose.yaml four folders up.
COMPOSE_FILES = (HERE / "compose.yaml", *(folder / "compose.yaml" for folder in HERE.parents[3:4]))
# What the shell may say of the stack; every other variable that the compose file reads is left out.
FROM_SHELL = {"IMAGE_PREFIX", "IMAGE_TAG"}
# Runs in the server's container, which has the secrets of both.
TELL = 'printf "%s\\n" "$PGUSER" "$PGDATABASE" "$(cat "$POSTGRES_PASSWORD_FILE")" && cat "$AWS_SHARED_CREDENTIALS_FILE"'


class Refusal(Exception):  # noqa: N818 - what is missing is no fault of the program
    """Why there is no stack, in one line for a person."""


@dataclass(frozen=True)
class Wanted:
    """What the project's settings say of its stacks.

    Attributes:
        compose_file: The stack's compose file; None for the one that comes with the package.
        settings: Variables of the compose file.
    """

    compose_file: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def find_compose_file(given: Path | None) -> Path:
    """Returns the compose file: the one that is given, the package's, or the one of the clone around the package."""
    candidates = COMPOSE_FILES if given is None else (given,)
    for file in candidates:
        if file.is_file():
            return file
    if given is not None:
        raise Refusal(f"there is no compose file {given} (mlflow_stack_compose_file)")
    raise Refusal("this installation has no compose file: set mlflow_stack_compose_file to a release's compose.yaml")


def environment(compose_file: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment for Compose: the settings, and the shell's without what it says of another stack."""
    read = set(re.findall(r"\$\{(\w+)", compose_file.read_text())) - FROM_SHELL
    shell = {name: value for name, value in os.environ.items() if name not in read and not name.startswith("COMPOSE_")}
    # A port of the system's choice, and no secrets that a person has provided: there are none in the package's folder.
    own = {"MLFLOW_PORT": "0", "SECRETS_DIR": str(HERE)}
    # A clone's file .env is about another stack.
    return {**shell, **own, **settings, "COMPOSE_DISABLE_ENV_FILE": "1"}


def last_line(text: str) -> str:
    """Returns the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "without a word")


class Commands:
    """The commands on one stack, under a project name of its own."""

    def __init__(self, wanted: Wanted) -> None:
        file = find_compose_file(wanted.compose_file)
        self.project = f"mlflow-stack-{secrets.token_hex(4)}"
        self.environment = environment(file, wanted.settings)
        files = ("--file", str(file), "--file", str(HERE / "ports.yaml"))
        # A release's compose file has no such profile, which does no harm.
        self.compose = ("docker", "compose", "--project-name", self.project, *files, "--profile", "minio")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command and returns how it ended; raises Refusal where its program is not there."""
        try:
            return subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise Refusal(f"{command[0]} is not installed") from None

    def output(self, *command: str) -> str:
        """Returns what a command prints; raises Refusal when it fails."""
        done = self.run(*command)
        if done.returncode:
            raise Refusal(f"{command[0]} {command[1]}: {last_line(done.stderr)}")
        return done.stdout

    def why_not(self, said: str) -> str:
        """Returns in one line why the stack did not start."""
        engine = self.run("docker", "version", "--format", "{{.Server.Version}}")
        if engine.returncode:
            return f"no Docker engine answers: {last_line(engine.stderr)}"
        if self.run("docker", "compose", "version").returncode:
            return "Docker has no Compose: install its plugin"
        images = sorted(set(self.run(*self.compose, "config", "--images").stdout.split()))
        if missing := [name for name in images if self.run("docker", "image", "inspect", name).returncode]:
            return (
                f"images are missing: {', '.join(missing)}; IMAGE_PREFIX and IMAGE_TAG name others ({last_line(said)})"
            )
        return f"the stack did not start: {last_line(said)}"


class Keeper:
    """The process that starts the stack, and removes it when this one ends, however it ends (`keeper.py`)."""

    def __init__(self, commands: Commands) -> None:
        # By its path: pytest may have found this package where another Python does not look.
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "keeper.py"), *commands.compose],
            env=commands.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._input, self._output = self._process.stdin, self._process.stdout

    def started(self) -> tuple[int, str]:
        """Waits until the stack is up, or has failed to come up; returns the command's exit code and what it said."""
        return self._read(self._output.readline())

    def remove(self) -> None:
        """Has the stack removed; raises Refusal when something of it stays."""
        with contextlib.suppress(BrokenPipeError), self._input:
            # Not by the pipe's end alone: a process that a test has made may hold it open.
            self._input.write("over\n")
        code, said = self._read(self._output.read())
        self._process.wait()
        if code:
            raise Refusal(f"the stack could not be removed: {last_line(said)}")

    @staticmethod
    def _read(reports: str) -> tuple[int, str]:
        """Returns what the newest report says."""
        if not reports:
            raise Refusal("the process that keeps the stack has died")
        newest = json.loads(reports.splitlines()[-1])
        return newest["code"], newest["said"]


def published(containers: Mapping[str, Mapping[str, Any]], service: str, port: int) -> int:
    """Returns the port of this machine where a service's port is published."""
    for one in containers.get(service, {}).get("Publishers") or ():
        if one["TargetPort"] == port and one["PublishedPort"]:
            return int(one["PublishedPort"])
    raise Refusal(f"the compose file publishes no port {port} of a service {service}")


def look_into(commands: Commands, bucket: str) -> MlflowStack:
    """Returns where the stack's parts are, and the keys to them."""
    lines = commands.output(*commands.compose, "ps", "--format", "json").splitlines()
    containers = {one["Service"]: one for one in map(json.loads, lines)}
    server = commands.output("docker", "exec", containers["mlflow"]["ID"], "sh", "-c", TELL)
    user, database, password, credentials = server.split("\n", 3)
    access_key, secret_key = read_key(credentials)
    edge, postgres, minio = (
        published(containers, service, port) for service, port in (("edge", 5000), ("postgres", 5432), ("minio", 9000))
    )
    return MlflowStack(
        tracking_uri=f"http://127.0.0.1:{edge}",
        bucket=Bucket(bucket, f"http://127.0.0.1:{minio}", access_key, secret_key),
        database=Database("127.0.0.1", postgres, database, user, password),
        project=commands.project,
    )


@contextmanager
def running_stack(wanted: Wanted) -> Iterator[MlflowStack]:
    """Starts a stack for the length of a `with` block; raises Refusal where it does not start, or is not removed."""
    commands = Commands(wanted)
    # Asked for first: without the program there is no stack to remove.
    commands.run("docker", "--version")
    keeper = Keeper(commands)
    try:
        code, said = keeper.started()
        if code:
            raise Refusal(commands.why_not(said))
        yield look_into(commands, wanted.settings.get("BUCKET", "mlflow"))
    except BaseException:
        # What went wrong first is what is told.
        with contextlib.suppress(Refusal):
            keeper.remove()
        raise
    keeper.remove()
