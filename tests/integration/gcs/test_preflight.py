"""Each way in which bucket or account can be wrong is one line that says what to do, and the stack stays down."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..stack import BUCKET, Stack
from .emulator import DOMAIN, SERVER, Emulator

VIEWER, CREATOR = "roles/storage.objectViewer", "roles/storage.objectCreator"
USER = "roles/storage.objectUser"


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Returns what the preflight itself prints."""
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("preflight: ")]


def preflight(stack: Stack, *options: str, settings: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the preflight alone."""
    return stack.compose("run", "--rm", "--no-deps", "-T", *options, "preflight", check=False, settings=settings)


@pytest.fixture(autouse=True, scope="module")
def address(stack: Stack) -> Iterator[None]:
    """Leaves the stack with the artifacts' address, without which no server starts: a preflight that fails takes it."""
    yield
    assert preflight(stack).returncode == 0


@pytest.fixture
def keys(stack: Stack) -> Iterator[None]:
    """Gives the server its own key back."""
    yield
    stack.compose("run", "--rm", "--no-deps", "-T", "gcs-keys")


def use_account(stack: Stack, name: str) -> None:
    """Gives the server another account's key."""
    stack.compose("run", "--rm", "--no-deps", "-T", "gcs-keys", settings={"GCS_EMULATOR_ACCOUNT": name})


@pytest.mark.parametrize(
    ("setting", "account", "allowed"),
    [
        ("allow", "mlflow-server", "create, replace, read and list"),
        ("refuse", "write-once", "create, read and list"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_account_with_its_roles_passes(stack: Stack, setting: str, account: str, allowed: str) -> None:
    """And is named, with what it may do."""
    use_account(stack, account)
    done = preflight(stack, settings={"ARTIFACT_OVERWRITE": setting})
    assert done.returncode == 0
    assert lines(done) == [
        f"preflight: {account}@{DOMAIN} (key file)",
        f"preflight: artifacts go to gs://{BUCKET}/mlflow/; {allowed} are allowed",
    ]


CREATE, READ, LIST = "storage.objects.create", "storage.objects.get", "storage.objects.list"
REPLACE = "storage.objects.delete"
MISSING: dict[tuple[str, str], set[tuple[str, str]]] = {
    ("refuse", "only-creator"): {(READ, VIEWER), (LIST, VIEWER)},
    ("refuse", "only-viewer"): {(CREATE, CREATOR)},
    ("refuse", "no-roles"): {(CREATE, CREATOR), (READ, VIEWER), (LIST, VIEWER)},
    ("allow", "only-creator"): {(REPLACE, USER), (READ, USER), (LIST, USER)},
    ("allow", "only-viewer"): {(CREATE, USER)},
    ("allow", "write-once"): {(REPLACE, USER)},
}


@pytest.mark.parametrize(("setting", "account"), MISSING)
@pytest.mark.usefixtures("keys")
def test_missing_role_is_named_with_its_bucket(stack: Stack, setting: str, account: str) -> None:
    use_account(stack, account)
    done = preflight(stack, settings={"ARTIFACT_OVERWRITE": setting})
    assert done.returncode == 1
    assert {line for line in lines(done) if "error" in line} == {
        f"preflight: error: {account}@{DOMAIN} lacks {permission} on gs://{BUCKET}: grant it {role} on this bucket"
        + (", or set ARTIFACT_OVERWRITE=refuse" if permission == REPLACE else "")
        for permission, role in MISSING[setting, account]
    }


ADMINISTRATORS = [
    "storage.objects.setIamPolicy",
    "storage.buckets.update",
    "storage.buckets.delete",
    "storage.buckets.setIamPolicy",
]
BOTH = f"{CREATOR} and {VIEWER} are enough"


@pytest.mark.parametrize(
    ("setting", "account", "excess", "enough"),
    [
        ("allow", "mlflow-admin", ADMINISTRATORS, f"{USER} is enough"),
        ("refuse", "mlflow-admin", [REPLACE, "storage.objects.update", *ADMINISTRATORS], BOTH),
        # The account of the other setting.
        ("refuse", "mlflow-server", [REPLACE, "storage.objects.update"], BOTH),
    ],
)
@pytest.mark.usefixtures("keys")
def test_account_that_may_do_more_is_warned_about(
    stack: Stack, setting: str, account: str, excess: list[str], enough: str
) -> None:
    use_account(stack, account)
    done = preflight(stack, settings={"ARTIFACT_OVERWRITE": setting})
    assert done.returncode == 0
    assert [line for line in lines(done) if "warning" in line] == [
        f"preflight: warning: {account}@{DOMAIN} holds more than the server needs on gs://{BUCKET}: "
        f"{', '.join(excess)}; {enough}"
    ]


@pytest.mark.parametrize(
    ("setting", "permission"), [("refuse", "storage.objects.delete"), ("allow", "storage.buckets.setIamPolicy")]
)
def test_one_permission_too_many_is_warned_about(
    stack: Stack, emulator: Emulator, setting: str, permission: str
) -> None:
    needed = [CREATE, READ, LIST] + ([REPLACE] if setting == "allow" else [])
    emulator.allow("mlflow-server", *needed, permission)
    done = preflight(stack, settings={"ARTIFACT_OVERWRITE": setting})
    (warning,) = [line for line in lines(done) if "warning" in line]
    assert f"gs://{BUCKET}: {permission}; " in warning


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "STORAGE_EMULATOR_HOST",
            "http://gcs:4443",
            "STORAGE_EMULATOR_HOST is set: it makes Google's client anonymous",
        ),
        ("GCS_BUCKET", "gs://bucket", "GCS_BUCKET is not the name of a bucket: gs://bucket"),
        ("GCS_BUCKET", "absent", "there is no bucket gs://absent"),
        ("GCS_PREFIX", "team/../mlflow", "GCS_PREFIX may not have . or .. as a folder's name: team/../mlflow"),
    ],
)
def test_wrong_setting_is_one_line(stack: Stack, name: str, value: str, message: str) -> None:
    # By the user's way: the compose file has to pass each on.
    assert_one_line(preflight(stack, settings={name: value}), message)


def test_unset_bucket_is_one_line(stack: Stack) -> None:
    """In the container alone: without the setting, Compose would make the storage's network another one."""
    assert_one_line(
        preflight(stack, "--env", "GCS_BUCKET="), "GCS_BUCKET is not set: name the bucket for the artifacts"
    )


def assert_one_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    """Asserts that a preflight has failed, and said so in one line that starts with the message."""
    assert done.returncode == 1
    (error,) = [line for line in lines(done) if "error" in line]
    assert error.startswith(f"preflight: error: {message}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("/nowhere", "the key file (GCS_KEY_FILE) cannot be read: No such file"),
        ("/etc/passwd", "the key file (GCS_KEY_FILE) is not a service account's JSON key"),
        # The secret of a stack without GCS_KEY_FILE, on a machine that is no Google VM.
        ("/run/secrets/gcs-key", "no credentials: give a key file (GCS_KEY_FILE), or"),
    ],
)
def test_wrong_key_is_one_line(stack: Stack, key: str, message: str) -> None:
    assert_one_line(preflight(stack, "--env", f"GOOGLE_APPLICATION_CREDENTIALS={key}"), message)


def test_deleted_key_is_one_line(stack: Stack, tmp_path: Path) -> None:
    key = json.loads(stack.read_volume("gcs-keys", "mlflow-server.json"))
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key | {"private_key_id": "deleted"}))
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    done = preflight(stack, "--volume", f"{file}:/key.json:ro", "--env", "GOOGLE_APPLICATION_CREDENTIALS=/key.json")
    assert done.returncode == 1
    (error,) = [line for line in lines(done) if "error" in line]
    assert f"{SERVER} is refused: " in error
    assert "Invalid JWT Signature." in error


def test_busy_storage_is_waited_for(stack: Stack, emulator: Emulator) -> None:
    emulator.fault("status", path=r"^/upload/.*", status=503, count=2)
    assert preflight(stack).returncode == 0
    assert emulator.waiting_faults() == []


def test_lost_answer_is_no_failure(stack: Stack, emulator: Emulator) -> None:
    emulator.fault("cut-response", method="POST", path="^/upload/")
    done = preflight(stack)
    assert done.returncode == 0, done.stderr
    assert emulator.waiting_faults() == []
    # The client's second attempt replaced the object that the first had written.
    assert "storage.objects.delete" in {entry["permission"] for entry in emulator.audit() if entry["allowed"]}


def test_refusal_about_no_role_quotes_google(stack: Stack, emulator: Emulator) -> None:
    """Refusal that is about no role is told in Google's words."""
    emulator.fault("status", path="^/upload/", status=403)
    (error,) = [line for line in lines(preflight(stack)) if "error" in line]
    assert error == (
        f"preflight: error: storage.objects.create on gs://{BUCKET} is refused: "
        "We encountered an internal error. Please try again."
    )


def test_stack_stays_down_when_a_role_is_missing(new_stack: Any) -> None:
    with new_stack(settings={"GCS_EMULATOR_ACCOUNT": "only-viewer"}) as broken:
        assert broken.compose("up", "--detach", "--wait", check=False).returncode != 0
        assert f"grant it {USER}" in broken.logs("preflight")
        assert "error: no storage has been prepared" in broken.logs("mlflow")
        assert broken.health("mlflow") != "healthy"
        # The role is granted: nothing else is needed.
        right = {"GCS_EMULATOR_ACCOUNT": "mlflow-server"}
        broken.up(settings=right)
        assert broken.health("mlflow") == "healthy"
        # And lost again: what an earlier start has found out does not count any more.
        broken.compose("stop", "mlflow")
        assert broken.compose("up", "--detach", "--wait", check=False).returncode != 0
        assert broken.health("mlflow") != "healthy"


def test_preflight_object_is_apart_from_artifacts(stack: Stack) -> None:
    """What the preflight writes is out of the artifacts way."""
    names = stack.object_names(".preflight/")
    assert names
    assert all(re.fullmatch(r"\.preflight/\d{8}T\d{6}Z-[0-9a-f]{8}", name) for name in names)
