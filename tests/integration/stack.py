"""A composed stack of the tests' own: brought up, looked into with each service's client, removed without a trace."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import random
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import boto3
import docker
from botocore.config import Config
from docker.errors import APIError, NotFound

if TYPE_CHECKING:
    from docker.models.containers import Container
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "compose.yaml"
EMULATOR_FILE = ROOT / "compose.gcs-emulator.yaml"
PORTS_FILE = ROOT / "compose.minio-ports.yaml"
SERVERS_FILE = ROOT / "compose.servers.yaml"
# Which storage the stacks use: the option --storage (tests/conftest.py).
STORAGE = os.environ.get("TEST_STORAGE", "minio")
STORAGE_SERVERS = {"minio": ("minio",), "gcs": ("gcs-store", "gcs")}[STORAGE]
SERVERS = ("postgres", *STORAGE_SERVERS, "mlflow", "edge")
# The network between the server and its storage, without the project's name: only Cloud Storage's has a way out.
STORAGE_NETWORK = {"minio": "storage-internal", "gcs": "storage"}[STORAGE]
# A service without a way out is published by another one, which passes connections on to it.
PUBLISHED_BY = {("mlflow", 5000): ("edge", 5000), ("serving", 5001): ("serving-edge", 5000)}
ONE_SHOTS = {"minio": ("secrets", "bucket", "migrate"), "gcs": ("secrets", "gcs-keys", "preflight", "migrate")}[STORAGE]
# The bucket, and the folder in it that holds the artifacts.
BUCKET, PREFIX = {"minio": ("mlflow", ""), "gcs": ("rehearsal", "mlflow/")}[STORAGE]
PROJECT_LABEL = "com.docker.compose.project"
# What a user's shell may say about images; every other setting of the compose file is the test's own.
KEPT_SETTINGS = {"BASE_IMAGE", "IMAGE_PREFIX", "IMAGE_TAG"}

# Runs in the server's container: PostgreSQL is on no network that the host reaches.
QUERY = """
import json, os, psycopg2
password = os.environ.get("PASSWORD") or open(os.environ["POSTGRES_PASSWORD_FILE"]).read().rstrip("\\n")
connection = psycopg2.connect(password=password)
connection.autocommit = True
cursor = connection.cursor()
cursor.execute(os.environ["QUERY"], json.loads(os.environ["VALUES"]))
print(json.dumps(cursor.fetchall() if cursor.description else [], default=str))
"""


class StackError(Exception):
    """A command on the stack failed; the message holds its output."""


class Identity(NamedTuple):
    """A key pair for the bucket."""

    access_key: str
    secret_key: str


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Polls until the condition holds; fails the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def free_port() -> int:
    """Returns a port that nobody uses now, below those that the system chooses: a container keeps it over restarts."""
    while True:
        with socket.socket() as attempt:
            port = random.randrange(20_000, 30_000)  # noqa: S311 - nothing secret
            with contextlib.suppress(OSError):
                attempt.bind(("127.0.0.1", port))
                return port


def settings_of_compose_file() -> set[str]:
    """Returns the names of the variables that the compose file reads."""
    return {name for file in ROOT.glob("compose*.yaml") for name in re.findall(r"\$\{(\w+)", file.read_text())}


def base_environment() -> dict[str, str]:
    """Returns the environment for Compose, without settings that the user's shell happens to hold."""
    own = settings_of_compose_file() - KEPT_SETTINGS
    kept = {name: value for name, value in os.environ.items() if name not in own and not name.startswith("COMPOSE_")}
    return {"IMAGE_TAG": "test", **kept}


def parse_credentials(text: str) -> Identity:
    """Returns the key pair in a credentials file of the AWS tools."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return Identity(parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"])


def _run(
    container: Container, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs a command in a container; returns its exit code, and what it printed and said of errors.

    One that fails and says nothing is run again: on a busy machine the engine may lose what a short program prints.
    """
    for _ in range(5):
        code, output = container.exec_run(list(command), demux=True, environment=dict(environment or {}))
        out, err = cast("tuple[bytes | None, bytes | None]", output)
        if code == 0 or out or err:
            break
    return code or 0, (out or b"").decode(), (err or b"").decode()


def published_port(container: Container, port: int) -> int:
    """Returns the port on the host where a container's port is published."""
    published = container.ports[f"{port}/tcp"]
    assert published, f"{container.name} does not publish {port}"
    return int(published[0]["HostPort"])


class Stack:
    """One composed stack, under a project name of its own and on ports that the system chooses.

    Args:
        folder: An empty folder for its data, its provided secrets and its override file.
        settings: Settings of the compose file that differ from the defaults.
        override: A compose file's content to merge in.
        files: Further compose files of the repository.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        override: Mapping[str, Any] | None = None,
        files: tuple[str, ...] = (),
    ) -> None:
        self.project = f"replica-test-{secrets.token_hex(4)}"
        self.docker = docker.from_env()
        self.data, self.secrets = folder / "data", folder / "secrets"
        for path in (self.data, self.secrets):
            path.mkdir()
            path.chmod(0o755)
        # The tests look at the objects from outside; by default MinIO's ports are not published.
        self.files = [COMPOSE_FILE, PORTS_FILE if STORAGE == "minio" else EMULATOR_FILE]
        self.files += [ROOT / name for name in files]
        file = folder / "override.json"
        file.write_text(json.dumps({"networks": self._small_networks(), **(override or {})}))
        self.files.append(file)
        self.environment = base_environment() | {
            "COMPOSE_PROFILES": STORAGE,
            "GCS_BUCKET": BUCKET if STORAGE == "gcs" else "",
            "GCS_EMULATOR_PORT": "0",
            "GCS_EMULATOR_ADMIN_PORT": "0",
            "MLFLOW_PORT": "0",
            "MINIO_PORT": "0",
            "MINIO_CONSOLE_PORT": "0",
            "SERVING_PORT": "0",
            "PROXY_HTTP_PORT": "0",
            "PROXY_HTTPS_PORT": "0",
            "PROMETHEUS_PORT": "0",
            "CLUSTER_PORT": "0",
            "DASHBOARD_PORT": "0",
            "DATA_DIR": str(self.data),
            "SECRETS_DIR": str(self.secrets),
            **(settings or {}),
        }

    def _small_networks(self) -> dict[str, Any]:
        """Returns each network with 30 addresses, of a range for tests: Docker's own pools hold 31 networks in all."""
        names = [
            "database",
            "inside",
            "outside",
            "monitoring",
            "storage",
            *(["minio-ports"] if STORAGE == "minio" else ["gcs-store"]),
            *(["servers"] if SERVERS_FILE in self.files else []),
        ]
        taken = [
            IPv4Network(config["Subnet"])
            for network in self.docker.networks.list()
            for config in network.attrs["IPAM"]["Config"] or ()
            if ":" not in config.get("Subnet", ":")
        ]
        blocks = IPv4Network("198.18.0.0/15").subnets(new_prefix=24)
        block = secrets.choice([one for one in blocks if not any(one.overlaps(other) for other in taken)])
        subnets = zip(names, block.subnets(new_prefix=27), strict=False)
        return {name: {"ipam": {"config": [{"subnet": str(subnet)}]}} for name, subnet in subnets}

    # Compose ----------------------------------------------------------------------------------------------------------

    def command(self, *args: str) -> list[str]:
        """Returns a Compose command line for this project."""
        files = [part for file in self.files for part in ("--file", str(file))]
        place = ["--project-directory", str(ROOT), "--project-name", self.project]
        return ["docker", "compose", "--ansi", "never", *files, *place, *args]

    @property
    def settings(self) -> dict[str, str]:
        """The variables with which a bare `docker compose` in the repository's folder speaks of this stack."""
        known = settings_of_compose_file() | {"COMPOSE_PROFILES"}
        own = {name: value for name, value in self.environment.items() if name in known}
        files = os.pathsep.join(map(str, self.files))
        named = {"COMPOSE_PROJECT_NAME": self.project, "COMPOSE_FILE": files}
        return own | named

    def compose(
        self, *args: str, check: bool = True, timeout: float = 180.0, settings: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a Compose command on this project; raises StackError when it fails, unless told not to check."""
        for _ in range(2):
            done = subprocess.run(
                self.command(*args),
                env={**self.environment, **(settings or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
            # The engine chose a port that some program's connection had from the system: now it chooses another.
            if not ("up" in args and "address already in use" in done.stderr):
                break
        if check and done.returncode != 0:
            raise StackError(
                f"docker compose {' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def up(self, *args: str, settings: Mapping[str, str] | None = None) -> None:
        """Brings the stack up healthy; the error of one that does not come up holds its logs."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "150", *args, settings=settings)
        except (StackError, subprocess.TimeoutExpired) as error:
            raise StackError(f"{error}\n{self.logs()}") from None

    def logs(self, *services: str) -> str:
        """Returns the logs of these services, or of all."""
        return self.compose("logs", "--no-color", *services, check=False).stdout

    def remove(self) -> None:
        """Removes the stack with its volumes; fails when something of it is left."""
        # `down` leaves containers of `run` alone.
        for container in self.containers("com.docker.compose.oneoff=True"):
            try:
                container.remove(force=True, v=True)
            except (NotFound, APIError):
                continue
        # Nothing of it is kept, so nothing is waited for.
        down = ("down", "--volumes", "--remove-orphans", "--timeout", "0")
        done = self.compose("--profile", "*", *down, check=False)
        left = self.leftovers()
        assert not left, f"left of {self.project} after its removal: {left}\n{done.stdout}{done.stderr}"

    def leftovers(self) -> list[str]:
        """Returns the names of containers, networks and volumes that carry this project's label."""
        filters = {"label": f"{PROJECT_LABEL}={self.project}"}
        containers = [str(container.name) for container in self.containers()]
        networks = [str(network.name) for network in self.docker.networks.list(filters=filters)]
        return containers + networks + self.volumes()

    def volumes(self) -> list[str]:
        """Returns the names of this project's volumes."""
        filters = {"label": f"{PROJECT_LABEL}={self.project}"}
        return sorted(str(volume.name) for volume in self.docker.volumes.list(filters=filters))

    # Containers -------------------------------------------------------------------------------------------------------

    def containers(self, *labels: str) -> list[Container]:
        """Returns this project's containers, running or not, that carry these labels."""
        filters: dict[str, str | list[str] | bool] = {"label": [f"{PROJECT_LABEL}={self.project}", *labels]}
        return self.docker.containers.list(all=True, filters=filters, ignore_removed=True)

    def container(self, service: str) -> Container:
        """Returns a service's container, running or not."""
        found = self.containers(f"com.docker.compose.service={service}", "com.docker.compose.oneoff=False")
        assert found, f"{service} has no container"
        return found[0]

    def exec(self, container: str | Container, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """Runs a command in a container and returns what it prints; raises StackError when it fails."""
        target = self.container(container) if isinstance(container, str) else container
        code, out, err = _run(target, command, environment)
        if code != 0:
            raise StackError(f"{target.name}: {command[0]}: exit code {code}\n{err}")
        return out

    def read(self, service: str, *command: str) -> str:
        """Returns what a command prints that changes nothing and always prints something.

        On a busy machine the engine may lose what a short program prints, and says nothing: it is then asked again.
        """
        for _ in range(5):
            if found := self.exec(service, *command):
                return found
        raise StackError(f"{service}: {' '.join(command)} prints nothing")

    def refusal(self, service: str, *command: str) -> tuple[int, str]:
        """Returns the exit code of a command that is refused and changes nothing, and what it says; see ``read``."""
        code, out, err = _run(self.container(service), command)
        return code, out + err

    def read_secret(self, service: str, path: str) -> str:
        """Returns what a secret's file in a container holds, without the end of its last line."""
        return self.read(service, "cat", path).rstrip("\n")

    def health(self, service: str) -> str:
        """Returns a container's health as Docker sees it."""
        return str(self.container(service).attrs["State"].get("Health", {}).get("Status"))

    def is_running(self) -> bool:
        """Tells whether the container of each server runs, healthy or not."""
        found = self.containers("com.docker.compose.oneoff=False")
        return set(SERVERS) <= {one.labels["com.docker.compose.service"] for one in found if one.status == "running"}

    def wait_healthy(self, *services: str) -> None:
        """Waits until these services (all servers by default) are healthy."""
        for service in services or SERVERS:
            wait_until(lambda service=service: self.health(service) == "healthy", f"{service} is healthy")  # type: ignore[misc]

    def kill(self, *services: str) -> None:
        """Kills containers' main processes as a crash does; `docker kill` would count as a stop by hand: no restart."""
        self.signal("KILL", *services)

    def signal(self, name: str, *services: str) -> None:
        """Sends a signal to containers' main processes, from outside of them."""
        self.signal_processes(name, *(self.main_process(self.container(service)) for service in services))

    def main_process(self, container: Container) -> int:
        """Returns the id, on the host, of the process that a container is about: below its init, where it has one.

        An init that has just been started, and has no process yet, is waited for.
        """
        first = int(container.attrs["State"]["Pid"])
        if not container.attrs["HostConfig"].get("Init"):
            return first

        def below_init() -> list[int]:
            processes = container.top(ps_args="-o pid,ppid")["Processes"]
            return [int(pid) for pid, parent in processes if int(parent) == first]

        wait_until(below_init, f"the process of {container.name} has started")
        return below_init()[0]

    def signal_processes(self, name: str, *pids: int) -> None:
        """Sends a signal to processes of the host that runs the containers; some may have ended meanwhile."""
        self.docker.containers.run(
            self.image("secrets"),
            entrypoint=["bash", "-c", f"kill -{name} {' '.join(map(str, pids))} || true"],
            user="0:0",
            pid_mode="host",
            network_mode="none",
            remove=True,
        )

    def read_volume(self, volume: str, path: str) -> str:
        """Returns a file out of a volume of this project, whether or not anything runs."""
        content: bytes = self.docker.containers.run(
            self.image("secrets"),
            entrypoint=["cat", f"/volume/{path}"],
            volumes={f"{self.project}_{volume}": {"bind": "/volume", "mode": "ro"}},
            network_mode="none",
            remove=True,
        )
        return content.decode()

    def image(self, service: str) -> str:
        """Returns the name of a service's image."""
        prefix = self.environment.get("IMAGE_PREFIX") or "mlflow-replica"
        return f"{prefix}-{service}:{self.environment['IMAGE_TAG']}"

    # The trainer ------------------------------------------------------------------------------------------------------

    def run_trainer(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        data: Path | None = None,
        out: Path | None = None,
        user: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the trainer in its container, with these folders and as this user, and returns output and exit code."""
        options = [] if user is None else ["--user", str(user)]
        variables = [part for name, value in (env or {}).items() for part in ("--env", f"{name}={value}")]
        settings = {"DATA_DIR": str(data or self.data), **({} if out is None else {"OUT_DIR": str(out)})}
        run = ("run", "--rm", "--no-deps", "-T", *options, *variables)
        return self.compose(*run, "trainer", *args, check=False, timeout=240, settings=settings)

    def train(self, *args: str, data: Path | None = None) -> dict[str, Any]:
        """Runs the trainer, which has to succeed, and returns the result that it prints as JSON."""
        done = self.run_trainer(*args, "--json", data=data)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def start_trainer(self, *args: str, entrypoint: str | None = None) -> Container:
        """Starts the trainer, or another program in its container, and returns the container at once."""
        options = ["--entrypoint", entrypoint] if entrypoint else []
        return self.start("trainer", *args, options=options)

    def start(
        self, service: str, *command: str, options: list[str] | None = None, settings: Mapping[str, str] | None = None
    ) -> Container:
        """Starts a further container of a service."""
        done = self.compose("run", "--detach", "--no-deps", *(options or []), service, *command, settings=settings)
        return self.docker.containers.get(done.stdout.split()[-1])

    def publish(self, container: Container, port: int) -> tuple[str, Container]:
        """Publishes a further container's port; returns the address on the host, and the container that does it."""
        options = ["--service-ports", "--env", f"TARGET={container.name}:{port}"]
        edge = self.start("edge", options=options, settings={"MLFLOW_PORT": "0"})
        edge.reload()
        return f"http://127.0.0.1:{published_port(edge, 5000)}", edge

    # Each service through its own client ------------------------------------------------------------------------------

    def port(self, service: str, port: int) -> int:
        """Returns the port on the host where a service's port is published now: a restart may move it."""
        publisher, inside = PUBLISHED_BY.get((service, port), (service, port))
        # Compose's own `port` may answer for a further container of the service.
        return published_port(self.container(publisher), inside)

    @property
    def url(self) -> str:
        """The tracking server's address for clients on the host."""
        return f"http://127.0.0.1:{self.port('mlflow', 5000)}"

    def sql(self, query: str, *values: object, password: str = "") -> list[list[Any]]:
        """Returns the rows of a query, asked with psycopg2 where the server is."""
        environment = {"QUERY": query, "VALUES": json.dumps(values), "PASSWORD": password}
        servers = self.containers("com.docker.compose.service=mlflow", "com.docker.compose.oneoff=False")
        # Of several, one that stays.
        healthy = (one for one in servers if one.attrs["State"].get("Health", {}).get("Status") == "healthy")
        asked = next(healthy, "mlflow")
        rows: list[list[Any]] = json.loads(self.exec(asked, "python3", "-c", QUERY, environment=environment))
        return rows

    @property
    def postgres_password(self) -> str:
        """The database password, out of its volume."""
        return self.read_secret("postgres", "/run/secrets/postgres/password")

    @property
    def minio_root(self) -> Identity:
        """MinIO's administrator, out of its volume."""
        names = ("root-user", "root-password")
        return Identity(*(self.read_secret("minio", f"/run/secrets/minio/{name}") for name in names))

    @property
    def bucket_identity(self) -> Identity:
        """The tracking server's key pair, out of its volume."""
        return parse_credentials(self.read_secret("mlflow", "/run/secrets/bucket/credentials"))

    @property
    def gc_identity(self) -> Identity:
        """Garbage collection's key pair, out of its volume."""
        return parse_credentials(self.read_volume("gc-secret", "credentials"))

    # The objects themselves, past the tracking server -------------------------------------------------------------

    def object_names(self, prefix: str = "") -> set[str]:
        """Returns the names of the artifacts' objects below a prefix, empty ones left out."""
        if STORAGE == "gcs":
            blobs = self.gcs("mlflow-gc").bucket(BUCKET).list_blobs(prefix=PREFIX + prefix)
            return {blob.name.removeprefix(PREFIX) for blob in blobs if blob.size}
        # A page has 1,000 names at most.
        pages = self.s3(self.minio_root).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"] for page in pages for item in page.get("Contents", []) if item["Size"] > 0}

    def object_content(self, name: str) -> bytes:
        """Returns what an artifact's object holds."""
        if STORAGE == "gcs":
            content: bytes = self.gcs("mlflow-gc").bucket(BUCKET).blob(PREFIX + name).download_as_bytes()
            return content
        return self.s3(self.minio_root).get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def object_versions(self, name: str) -> list[bytes]:
        """Returns what each version of an artifact's object holds, the newest first."""
        if STORAGE == "gcs":
            bucket = self.gcs("mlflow-gc").bucket(BUCKET)
            found = [one for one in bucket.list_blobs(prefix=PREFIX + name, versions=True) if one.name == PREFIX + name]
            blobs = [bucket.blob(one.name, generation=one.generation) for one in reversed(found)]
            return [blob.download_as_bytes() for blob in blobs]
        s3 = self.s3(self.minio_root)
        versions = s3.list_object_versions(Bucket=BUCKET, Prefix=name).get("Versions", [])
        ids = [one["VersionId"] for one in versions if one["Key"] == name]
        return [s3.get_object(Bucket=BUCKET, Key=name, VersionId=one)["Body"].read() for one in ids]

    def gcs(self, account: str) -> Any:
        """Returns Google's client on the host that acts as one of the emulator's accounts, by its own key."""
        from google.cloud import storage
        from google.oauth2 import service_account

        address = f"http://127.0.0.1:{self.port('gcs', 4443)}"
        key = json.loads(self.read_volume("gcs-keys", f"{account}.json")) | {"token_uri": f"{address}/token"}
        credentials = service_account.Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]
        return storage.Client(
            project=key["project_id"], credentials=credentials, client_options={"api_endpoint": address}
        )

    @property
    def minio_url(self) -> str:
        """The S3 API's address on the host."""
        return f"http://127.0.0.1:{self.port('minio', 9000)}"

    def s3(self, identity: Identity) -> S3Client:
        """Returns an S3 client on the host that acts as this identity."""
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=self.minio_url,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, proxies={}),
        )
        return client
