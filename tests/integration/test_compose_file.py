"""The compose file itself: valid for each profile, pinned, and free of names that two copies would fight over."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from .stack import COMPOSE_FILE, EMULATOR_FILE, ONE_SHOTS, ROOT, SERVERS, Stack

# About the file, whatever is started from it: once is enough.
pytestmark = pytest.mark.minio


@pytest.fixture
def plain_stack(images: None, tmp_path: Path) -> Stack:
    """A stack that is not started."""
    return Stack(tmp_path)


@pytest.mark.parametrize("profiles", [(), ("minio",), ("trainer",), ("minio", "trainer"), ("*",)])
def test_compose_file_is_valid_with(plain_stack: Stack, profiles: tuple[str, ...]) -> None:
    options = [part for profile in profiles for part in ("--profile", profile)]
    done = plain_stack.compose(*options, "config", "--quiet", settings={"COMPOSE_PROFILES": ""})
    assert done.stderr == ""


def test_default_profile_is_minio_and_trains_nothing(plain_stack: Stack) -> None:
    # As for a user who sets nothing: the committed .env chooses.
    del plain_stack.environment["COMPOSE_PROFILES"]
    services = plain_stack.compose("config", "--services").stdout.split()
    assert sorted(services) == sorted((*SERVERS, *ONE_SHOTS))


def test_images_are_not_the_latest_whatever_that_is(compose_config: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose_config["services"].items()}
    assert [name for name, image in images.items() if not re.search(r":(?!latest$)[\w.-]+$", image)] == []
    froms = [
        line for file in ROOT.glob("services/*/Dockerfile") for line in re.findall(r"^FROM.*", file.read_text(), re.M)
    ]
    assert froms
    assert [line for line in froms if "latest" in line] == []


def test_no_registry_is_asked_for_what_is_built(plain_stack: Stack) -> None:
    plain_stack.files.append(EMULATOR_FILE)
    config = json.loads(plain_stack.compose("--profile", "*", "config", "--format", "json").stdout)
    policies = {name: service["pull_policy"] for name, service in config["services"].items() if "build" in service}
    assert len(policies) == len(config["services"])
    assert set(policies.values()) == {"never"}


def test_up_builds_once_what_is_missing(tmp_path: Path) -> None:
    """As in a fresh clone: no image is there, and the first `up` tries no pull. The second one builds nothing."""
    fresh = Stack(tmp_path, settings={"IMAGE_PREFIX": f"replica-test-{secrets.token_hex(4)}"})
    try:
        first = fresh.compose("up", "--no-deps", "secrets")
        assert "building with" in first.stdout
        assert not re.search("pull access|Pulling|Warning|Error", first.stdout + first.stderr), first.stderr
        again = fresh.compose("up", "--no-deps", "secrets")
        assert "building with" not in again.stdout + again.stderr
    finally:
        fresh.remove()
        fresh.docker.images.remove(fresh.image("secrets"))


def test_official_postgres_image_would_be_pulled(plain_stack: Stack, tmp_path: Path) -> None:
    """The override in the documentation takes the image out of a registry."""
    page = (ROOT / "docs/operators/external-postgresql.md").read_text()
    (shown,) = re.findall(r"```yaml\n(services:\n  postgres:\n.*?)```", page, re.DOTALL)
    plain_stack.files.append(tmp_path / "compose.override.yaml")
    plain_stack.files[-1].write_text(shown)
    postgres = yaml.safe_load(plain_stack.compose("config").stdout)["services"]["postgres"]
    assert (postgres["image"], postgres["pull_policy"]) == ("postgres:17", "missing")
    assert "build" not in postgres


def test_containers_ignore_the_shells_address(plain_stack: Stack) -> None:
    """Clients address in the shell does not lead the containers astray."""
    settings = {"MLFLOW_TRACKING_URI": "http://localhost:5000"}
    config = json.loads(plain_stack.compose("--profile", "*", "config", "--format", "json", settings=settings).stdout)
    environments = {name: service.get("environment") or {} for name, service in config["services"].items()}
    addresses = {
        name: values["MLFLOW_TRACKING_URI"] for name, values in environments.items() if "MLFLOW_TRACKING_URI" in values
    }
    assert addresses == dict.fromkeys(("trainer", "housekeeping", "serving", "worker"), "http://mlflow:5000")


GIVEN = (
    "gcs-key",
    "gc-key",
    "backup-key",
    "certificate",
    "key",
    "alert-webhook",
    "alert-mail-password",
    "housekeeping.yaml",
)


def test_files_for_unset_settings_exist(compose_config: dict[str, Any]) -> None:
    """Files that nobody has given are in the repository."""
    # Not /dev/null, which Windows has not.
    mounted = [volume for service in compose_config["services"].values() for volume in service.get("volumes", [])]
    files = [Path(volume["source"]) for volume in mounted if Path(volume["target"]).name in GIVEN]
    assert files == [ROOT / "secrets" / ".none"] * 12
    assert (ROOT / "secrets" / ".none").read_bytes() == b""


def test_missing_path_is_an_error_not_a_folder(compose_config: dict[str, Any]) -> None:
    """Path that is not there is an error not an empty folder."""
    mounted = [volume for service in compose_config["services"].values() for volume in service.get("volumes", [])]
    binds = [volume for volume in mounted if volume["type"] == "bind"]
    assert {"/provided", "/data", "/out"} <= {volume["target"] for volume in binds}
    assert [volume["target"] for volume in binds if volume["bind"].get("create_host_path")] == []


@pytest.mark.parametrize(
    ("setting", "services"),
    [
        ("GCS_KEY_FILE", ("preflight", "mlflow", "backup", "usage")),
        ("GC_KEY_FILE", ("gc",)),
        ("BACKUP_KEY_FILE", ("backup",)),
        ("HOUSEKEEPING_FILE", ("gc", "usage")),
        ("PROXY_CERTIFICATE_FILE", ("proxy",)),
        ("PROXY_KEY_FILE", ("proxy",)),
        ("ALERT_WEBHOOK_FILE", ("alertmanager",)),
        ("ALERT_MAIL_PASSWORD_FILE", ("alertmanager",)),
        ("CLIENT_KEY_FILE", ("bucket", "trainer")),
        ("POSTGRES_CA_FILE", ("migrate", "mlflow", "gc", "backup", "usage")),
    ],
)
def test_another_file_is_noticed_by_the_next_up(tmp_path: Path, setting: str, services: tuple[str, ...]) -> None:
    files = {"CLIENT_KEY_FILE": ("compose.direct.yaml",), "POSTGRES_CA_FILE": ("compose.external-postgres.yaml",)}
    stack = Stack(tmp_path, settings={"POSTGRES_HOST": "database.test"}, files=files.get(setting, ()))

    def hashes(file: str) -> set[str]:
        done = stack.compose("--profile", "*", "config", "--hash", ",".join(services), settings={setting: file})
        return set(done.stdout.splitlines())

    assert len(hashes("./one")) == len(services)
    assert hashes("./one") & hashes("./another") == set()


def test_names_carry_the_project(compose_config: dict[str, Any]) -> None:
    project = compose_config["name"]
    assert [name for name, service in compose_config["services"].items() if "container_name" in service] == []
    for kind in ("networks", "volumes"):
        names = [entry.get("name", "") for entry in compose_config[kind].values()]
        assert [name for name in names if not name.startswith(f"{project}_")] == []


def test_each_published_port_can_be_moved(plain_stack: Stack, compose_config: dict[str, Any]) -> None:
    ports = [port["published"] for service in compose_config["services"].values() for port in service.get("ports", [])]
    # The test's settings move them all to 0; one that stays where it was is fixed.
    assert ports == ["0"] * 9
    assert "network_mode: host" not in COMPOSE_FILE.read_text()
