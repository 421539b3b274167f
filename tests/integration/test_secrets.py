"""Secrets are generated strong, each is mounted only where it is needed, and none shows anywhere else."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .stack import SERVERS, Stack, parse_credentials, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

# These are MinIO's secrets and PostgreSQL's; the key of the gcs profile has its tests in gcs/test_key.py.
pytestmark = pytest.mark.minio

# Which service mounts which secret volume, and whether it may write.
MOUNTED = {
    "secrets": dict.fromkeys(
        (
            "postgres-secret",
            "minio-secret",
            "bucket-secret",
            "gc-secret",
            "mlflow-secret",
            "people-secret",
            "admin-secret",
            "serving-secret",
            "housekeeping-secret",
            "monitor-secret",
            *("cluster-authority-secret", "cluster-scheduler-secret", "cluster-worker-secret", "cluster-client-secret"),
        ),
        True,
    ),
    "postgres": {"postgres-secret": False},
    "migrate": {"postgres-secret": False},
    "minio": {"minio-secret": False},
    "bucket": {"minio-secret": False, "bucket-secret": False, "gc-secret": False},
    "mlflow": {
        "postgres-secret": False,
        "bucket-secret": False,
        "mlflow-secret": False,
        "people-secret": False,
        "serving-secret": False,
        "housekeeping-secret": False,
    },
}
FILES = {
    "postgres-secret": ("password",),
    "minio-secret": ("root-user", "root-password"),
    "bucket-secret": ("credentials",),
    "gc-secret": ("credentials",),
    "mlflow-secret": ("webhook-key", "gateway-passphrase", "flask-key"),
    "people-secret": ("proof", "console"),
    "serving-secret": ("token",),
    "housekeeping-secret": ("token",),
    "monitor-secret": ("password",),
}


@pytest.fixture(scope="module")
def passwords(stack: Stack) -> list[str]:
    """The values that open something."""
    keys = (stack.minio_root, stack.bucket_identity, stack.gc_identity)
    mlflow = [
        stack.exec("mlflow", "cat", f"/run/secrets/{volume}/{name}").strip()
        for volume in ("mlflow", "people", "serving", "housekeeping")
        for name in FILES[f"{volume}-secret"]
    ]
    monitor = stack.read_volume("monitor-secret", "password").strip()
    return [stack.postgres_password, monitor, *(key.secret_key for key in keys), *mlflow]


@pytest.fixture(scope="module")
def values(stack: Stack, passwords: list[str]) -> list[str]:
    """Everything that was generated: the passwords, and the names that go with them."""
    return [*passwords, *(key.access_key for key in (stack.minio_root, stack.bucket_identity, stack.gc_identity))]


def leaks(values: Iterable[str], places: Iterable[tuple[str, str]]) -> list[str]:
    """Returns the names of the places that hold one of the values, as it is or as JSON writes it."""
    wanted = [form for value in values for form in (value, json.dumps(value)[1:-1])]
    return [name for name, text in places if any(form in text for form in wanted)]


def inspections(stack: Stack) -> Iterator[tuple[str, str]]:
    """Yields what Docker tells about everything in a stack: containers, their images, volumes and networks."""
    api: Any = stack.docker.api
    for container in stack.containers():
        yield f"container {container.name}", json.dumps(container.attrs)
        image = container.attrs["Image"]
        yield f"image of {container.name}", json.dumps([api.inspect_image(image), api.history(image)])
    for volume in stack.volumes():
        yield f"volume {volume}", json.dumps(api.inspect_volume(volume))
    for network in stack.docker.networks.list(names=[stack.project]):
        yield f"network {network.name}", json.dumps(api.inspect_network(network.id))


def command_lines(stack: Stack) -> Iterator[tuple[str, str]]:
    """Yields the command lines and the environments of all processes that run in a stack's servers."""
    for service in SERVERS:
        yield service, stack.exec(service, "bash", "-c", "cat /proc/[0-9]*/cmdline /proc/1/environ | tr '\\0' ' '")


def test_secrets_are_long_and_random(passwords: list[str]) -> None:
    assert len(set(passwords)) == len(passwords)
    for password in passwords:
        # The webhooks' key, and a token, have forms of their own.
        assert re.fullmatch(r"[A-Za-z0-9]{38,}|[A-Za-z0-9_-]{43}=|mlr_[A-Za-z0-9_-]{43}", password)
        counts = Counter(password).values()
        bits = -sum(count * math.log2(count / len(password)) for count in counts) / len(password)
        assert bits > 4, "too regular"


def test_secrets_differ_between_stacks(stack: Stack, values: list[str], new_stack: Any) -> None:
    """Secrets differ between stacks and stay within one."""

    def contents() -> dict[str, str]:
        return {
            f"{volume}/{name}": other.read_volume(volume, name) for volume, names in FILES.items() for name in names
        }

    with new_stack() as other:
        other.compose("up", "secrets")
        first = contents()
        other.compose("up", "--force-recreate", "secrets")
        assert contents() == first
    pairs = [parse_credentials(first.pop(f"{volume}/credentials")) for volume in ("bucket-secret", "gc-secret")]
    found = {*(value.strip() for value in first.values()), *(part for pair in pairs for part in pair)}
    assert len(found) == len(values)
    assert not found & set(values)


def test_secrets_show_nowhere_in_docker_inspect(
    stack: Stack, values: list[str], idle_trainer: Container, baseline: dict[str, Any]
) -> None:
    assert leaks(values, inspections(stack)) == []
    assert leaks([stack.project], inspections(stack)) != [], "this looks in the wrong place"


def test_secrets_show_in_no_log(stack: Stack, values: list[str], baseline: dict[str, Any]) -> None:
    places = [(service, stack.logs(service)) for service in MOUNTED]
    assert all(text for name, text in places if name != "minio"), "this looks in the wrong place"
    assert leaks(values, places) == []


def test_secrets_show_in_no_command_line(stack: Stack, values: list[str]) -> None:
    assert leaks(values, command_lines(stack)) == []
    # Otherwise this looks in the wrong place. Again, since a busy engine loses a part of what such a command prints.
    wait_until(lambda: leaks(["replica_server serve"], command_lines(stack)) == ["mlflow"], "the server is seen", 30)


def test_secrets_are_not_in_the_repository(values: list[str], tracked_files: list[Path]) -> None:
    places = [(str(file), file.read_text(errors="replace")) for file in tracked_files if file.is_file()]
    assert leaks(values, places) == []


def test_secrets_folder_is_kept_out_of_git(tracked_files: list[Path]) -> None:
    """Secrets folder of the repository is kept out of git."""
    files = [file for file in tracked_files if file.parent.name == "secrets" and file.parts[-3] != "services"]
    # The second is empty: it is mounted in place of files that are not given.
    assert [file.name for file in files] == [".gitignore", ".none"]
    assert files[1].read_bytes() == b""


def test_secret_volumes_are_mounted_where_needed(stack: Stack) -> None:
    """Secret volumes are mounted where needed and nowhere else."""
    mounted = {
        service: {
            mount["Name"].removeprefix(f"{stack.project}_"): mount["RW"]
            for mount in stack.container(service).attrs["Mounts"]
            if mount["Type"] == "volume" and mount["Name"].endswith("-secret")
        }
        for service in MOUNTED
    }
    assert mounted == MOUNTED


def test_trainer_mounts_only_its_own_folders(idle_trainer: Container) -> None:
    """Trainer mounts nothing but its data its results its searches and its certificate for a cluster."""
    mounts = [(mount["Type"], mount["Destination"], mount["RW"]) for mount in idle_trainer.attrs["Mounts"]]
    assert sorted(mounts) == [
        ("bind", "/data", False),
        ("bind", "/out", True),
        ("volume", "/run/secrets/cluster", False),
        ("volume", "/studies", True),
    ]


def test_trainer_holds_no_secret(stack: Stack, values: list[str], idle_trainer: Container) -> None:
    environment = stack.exec(idle_trainer, "cat", "/proc/1/environ")
    names = [entry.partition("=")[0] for entry in environment.split("\0")]
    assert [name for name in names if re.match(r"AWS|PG|POSTGRES|MINIO|.*(PASSWORD|SECRET|TOKEN|KEY)", name)] == []
    assert leaks(values, [("environment", environment)]) == []
    # Its certificate opens a cluster, which has no more rights than the trainer itself.
    assert stack.exec(idle_trainer, "ls", "/run/secrets").split() == ["cluster"]


def test_certificates_are_mounted_where_needed(stack: Stack, cluster: dict[str, Container]) -> None:
    """Each part of a cluster has its own, and the authority's key is mounted nowhere but in the service that signs."""
    # The tables of a machine's workers are nobody's secret.
    others = {"scheduler": set(), "worker": {(f"{stack.project}_cluster-tables", "/tables", True)}}
    for part in ("scheduler", "worker"):
        mounts = [mount for mount in cluster[part].attrs["Mounts"] if mount["Type"] == "volume"]
        assert {(mount["Name"], mount["Destination"], mount["RW"]) for mount in mounts} == {
            (f"{stack.project}_cluster-{part}-secret", "/run/secrets/cluster", False),
            *others[part],
        }
        assert sorted(stack.exec(cluster[part], "ls", "/run/secrets/cluster").split()) == [
            *("ca.pem", "certificate.pem", "key.pem")
        ]
    keys = [stack.read_volume(f"cluster-{part}-secret", "key.pem") for part in ("scheduler", "worker", "client")]
    assert len(set(keys)) == 3
    assert leaks([line for key in keys for line in key.splitlines()[1:-1]], inspections(stack)) == []


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [("postgres-password", 0o644, "is empty"), ("bucket-credentials", 0o000, "cannot be read")],
    ids=["empty", "unreadable"],
)
def test_unusable_provided_secret_stops_the_start(new_stack: Any, name: str, mode: int, message: str) -> None:
    """Provided secret that cannot be used stops the start."""
    with new_stack() as broken:
        file = broken.secrets / name
        file.write_text("" if message == "is empty" else "[default]\n")
        file.chmod(mode)
        done = broken.compose("up", "--detach", "--wait", check=False)
        assert done.returncode != 0
        assert "secrets" in done.stderr
        errors = {line.partition("| ")[2] for line in broken.logs("secrets").splitlines() if name in line}
        assert len(errors) == 1
        assert re.fullmatch(rf"secrets: error: {name} {message}.*", errors.pop())
        assert {broken.container(service).status for service in SERVERS} == {"created"}, "servers were started"


def test_volumes_are_gone_after_down_volumes(new_stack: Any) -> None:
    with new_stack() as created:
        created.compose("up", "secrets")
        created.compose("up", "--no-start")
        # Its volume too, though the trainer's profile is not one that `down` knows of.
        assert created.run_trainer("search", "--help").returncode == 0
        assert {name.removeprefix(f"{created.project}_") for name in created.volumes()} == {
            "artifact-store",
            "postgres-data",
            "postgres-secret",
            "minio-data",
            "minio-secret",
            "bucket-secret",
            "gc-secret",
            "mlflow-secret",
            "people-secret",
            "admin-secret",
            "serving-secret",
            "housekeeping-secret",
            *(f"cluster-{part}-secret" for part in ("authority", "scheduler", "worker", "client")),
            "mlflow-tmp",
            "monitor-secret",
            "trainer-studies",
        }
        created.compose("down", "--volumes")
        assert created.leftovers() == []
