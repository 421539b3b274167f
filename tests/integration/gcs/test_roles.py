"""Each permission opens what it is for and nothing else opens it; the server holds what its setting needs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from gateway import roles
from google.api_core.exceptions import Forbidden
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ..stack import BUCKET, Stack
from .emulator import DOMAIN, SERVER, Emulator

CREATE, DELETE, GET = "storage.objects.create", "storage.objects.delete", "storage.objects.get"
LIST, UPDATE = "storage.objects.list", "storage.objects.update"
BUCKET_GET, BUCKET_UPDATE, BUCKET_DELETE = "storage.buckets.get", "storage.buckets.update", "storage.buckets.delete"
BUCKET_LIST, BUCKET_CREATE = "storage.buckets.list", "storage.buckets.create"
EVERY = {*(CREATE, DELETE, GET, LIST, UPDATE), *(BUCKET_GET, BUCKET_UPDATE, BUCKET_DELETE, BUCKET_LIST, BUCKET_CREATE)}
# Nothing here changes a policy: whether an account may can be asked for, and that is all.
ONLY_ASKED_FOR = {"storage.objects.setIamPolicy", "storage.buckets.setIamPolicy"}
# What only a role on the project opens, or is done to another bucket than the server's.
OF_THE_PROJECT = {BUCKET_LIST, BUCKET_CREATE, BUCKET_DELETE}
# Whose key the server has that lets no name be written again.
STRICT = f"write-once@{DOMAIN}"
# The bucket that is there to be deleted.
SPARE = "spare"


def new_name() -> str:
    """Returns a name that no object has."""
    return f"roles/{uuid.uuid4().hex}"


def update(bucket: Any, name: str) -> None:
    """Changes an object's metadata."""
    blob = bucket.blob(name)
    blob.metadata = {"colour": "blue"}
    blob.patch()


def update_bucket(bucket: Any, _: str) -> None:
    """Changes a bucket's metadata."""
    bucket.labels = {"colour": "blue"}
    bucket.patch()


# What is done, with a bucket and the name of an object that is there; and the permissions that it takes, all of them.
OPERATIONS: dict[str, tuple[Callable[[Any, str], Any], set[str]]] = {
    "write a new object": (lambda bucket, _: bucket.blob(new_name()).upload_from_string("x"), {CREATE}),
    "write a large object": (
        lambda bucket, _: bucket.blob(new_name(), chunk_size=2**18).upload_from_string(b"x" * 2**20),
        {CREATE},
    ),
    "overwrite an object": (lambda bucket, name: bucket.blob(name).upload_from_string("x"), {CREATE, DELETE}),
    "read an object": (lambda bucket, name: bucket.blob(name).download_as_bytes(), {GET}),
    "read an object's metadata": (lambda bucket, name: bucket.blob(name).reload(), {GET}),
    "list objects": (lambda bucket, _: list(bucket.list_blobs(prefix="roles/")), {LIST}),
    "delete an object": (lambda bucket, name: bucket.blob(name).delete(), {DELETE}),
    "change an object's metadata": (update, {UPDATE}),
    "copy an object": (lambda bucket, name: bucket.copy_blob(bucket.blob(name), bucket, new_name()), {GET, CREATE}),
    "compose objects": (
        lambda bucket, name: bucket.blob(new_name()).compose([bucket.blob(name), bucket.blob(name)]),
        {GET, CREATE},
    ),
    "read the bucket's metadata": (lambda bucket, _: bucket.reload(), {BUCKET_GET}),
    "change the bucket's metadata": (update_bucket, {BUCKET_UPDATE}),
    "list buckets": (lambda bucket, _: list(bucket.client.list_buckets()), {BUCKET_LIST}),
    "create a bucket": (lambda bucket, _: bucket.client.create_bucket(f"new-{uuid.uuid4().hex}"), {BUCKET_CREATE}),
    "delete a bucket": (lambda bucket, _: bucket.client.bucket(SPARE).delete(), {BUCKET_DELETE}),
}


@pytest.fixture
def existing(stack: Stack) -> str:
    """The name of an object that is there."""
    name = new_name()
    stack.gcs("mlflow-gc").bucket(BUCKET).blob(name).upload_from_string("content")
    return name


@pytest.fixture(autouse=True)
def spare(stack: Stack) -> None:
    """A second bucket, empty, which only a role on the project opens."""
    client = stack.gcs("mlflow-admin")
    if client.lookup_bucket(SPARE) is None:
        client.create_bucket(SPARE)


def succeeds(operation: Callable[[Any, str], Any], bucket: Any, name: str) -> bool:
    """Tells whether an operation is allowed."""
    try:
        operation(bucket, name)
    except Forbidden:
        return False
    return True


def test_each_permission_has_an_operation() -> None:
    """Each permission of the role table has an operation."""
    used = set().union(*(needs for _, needs in OPERATIONS.values()))
    assert used == EVERY
    assert used | ONLY_ASKED_FOR == roles.ALL_PERMISSIONS


@pytest.mark.parametrize("role", roles.ROLES)
def test_role_opens_what_the_table_says_and_no_more(stack: Stack, emulator: Emulator, role: str) -> None:
    emulator.allow("no-roles", roles=(role,), project=True)
    bucket, held = stack.gcs("no-roles").bucket(BUCKET), roles.ROLES[role]
    writer = stack.gcs("mlflow-gc").bucket(BUCKET)
    opened = set()
    for name, (operation, _) in OPERATIONS.items():
        existing = new_name()
        writer.blob(existing).upload_from_string("content")
        if succeeds(operation, bucket, existing):
            opened.add(name)
    assert opened == {name for name, (_, needs) in OPERATIONS.items() if needs <= held}
    assert set(bucket.test_iam_permissions(sorted(roles.ALL_PERMISSIONS))) == held


def test_server_may_do_nothing_with_another_bucket(stack: Stack, existing: str) -> None:
    name = f"other-{uuid.uuid4().hex}"
    other = stack.gcs("mlflow-admin").create_bucket(name)
    other.blob(existing).upload_from_string("of somebody else")
    client = stack.gcs("mlflow-server")
    asked_for = [CREATE, GET, LIST]
    assert client.bucket(BUCKET).test_iam_permissions(asked_for) == asked_for
    assert client.bucket(name).test_iam_permissions(asked_for) == []
    opened = {what for what, (operation, _) in OPERATIONS.items() if succeeds(operation, client.bucket(name), existing)}
    assert opened == set()
    # Nor by way of the bucket that is its own.
    with pytest.raises(Forbidden, match=f"does not have {GET} access"):
        client.bucket(name).copy_blob(client.bucket(name).blob(existing), client.bucket(BUCKET), new_name())
    assert other.blob(existing).download_as_bytes() == b"of somebody else"


@pytest.mark.parametrize(("operation", "needs"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_permissions_of_an_operation_are_enough(
    stack: Stack, emulator: Emulator, existing: str, operation: Callable[[Any, str], Any], needs: set[str]
) -> None:
    emulator.allow("no-roles", *needs, project=bool(needs & OF_THE_PROJECT))
    operation(stack.gcs("no-roles").bucket(BUCKET), existing)


@pytest.mark.parametrize(
    ("operation", "missing"),
    [
        pytest.param(operation, missing, id=f"{name} without {missing}")
        for name, (operation, needs) in OPERATIONS.items()
        for missing in sorted(needs)
    ],
)
def test_no_other_permission_stands_in(
    stack: Stack, emulator: Emulator, existing: str, operation: Callable[[Any, str], Any], missing: str
) -> None:
    emulator.allow("no-roles", *(EVERY - {missing}), project=missing in OF_THE_PROJECT)
    with pytest.raises(Forbidden) as denied:
        operation(stack.gcs("no-roles").bucket(BUCKET), existing)
    assert f"no-roles@{DOMAIN} does not have {missing} access" in str(denied.value)
    assert f"Permission '{missing}' denied on resource (or it may not exist)." in str(denied.value)


@pytest.mark.parametrize(
    ("account", "held"),
    [("mlflow-server", {CREATE, GET, LIST, DELETE, UPDATE}), ("write-once", {CREATE, GET, LIST})],
    ids=["allow", "refuse"],
)
@pytest.mark.parametrize(("operation", "needs"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_server_can_do_what_its_setting_needs(
    stack: Stack, account: str, held: set[str], existing: str, operation: Callable[[Any, str], Any], needs: set[str]
) -> None:
    """By ARTIFACT_OVERWRITE; and no more."""
    bucket = stack.gcs(account).bucket(BUCKET)
    if needs <= held:
        operation(bucket, existing)
    else:
        with pytest.raises(Forbidden):
            operation(bucket, existing)


@pytest.mark.parametrize(
    ("missing", "operation"),
    [
        (CREATE, lambda client, run_id, _: client.log_text(run_id, "new", "new.txt")),
        (GET, lambda client, run_id, folder: client.download_artifacts(run_id, "note.txt", folder)),
        (LIST, lambda client, run_id, _: client.list_artifacts(run_id)),
    ],
    ids=[CREATE, GET, LIST],
)
def test_server_needs_each_of_its_permissions(
    client: MlflowClient,
    emulator: Emulator,
    run_id: str,
    tmp_path: Path,
    missing: str,
    operation: Callable[[MlflowClient, str, str], Any],
) -> None:
    client.log_text(run_id, "content", "note.txt")
    operation(client, run_id, str(tmp_path))
    other = client.create_run("0").info.run_id
    client.log_text(other, "content", "note.txt")
    emulator.allow("mlflow-server", *({CREATE, GET, LIST} - {missing}))
    emulator.clear_audit()
    with pytest.raises((MlflowException, OSError, requests.RequestException)):
        operation(client, other, str(tmp_path / "other"))
    assert (SERVER, missing, False) in {
        (entry["account"], entry.get("permission"), entry["allowed"]) for entry in emulator.audit()
    }


def test_account_itself_refuses_to_overwrite(stack: Stack, strict_url: str, emulator: Emulator, run_id: str) -> None:
    """Through the server with ARTIFACT_OVERWRITE=refuse; tests/integration/test_overwriting.py has more."""
    url = f"{strict_url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/note.txt"
    answers = [requests.put(url, data=content, timeout=60) for content in (b"first", b"second", b"first")]
    assert [answer.status_code for answer in answers] == [200, 400, 200]
    assert "exists with other content, and cannot be overwritten" in answers[1].json()["message"]
    assert stack.object_content(f"0/{run_id}/artifacts/note.txt") == b"first"
    denied = [entry["account"] for entry in emulator.audit() if not entry["allowed"] and entry["permission"] == DELETE]
    assert denied == [STRICT, STRICT]


def test_large_overwrite_is_refused_when_it_begins(stack: Stack, emulator: Emulator, existing: str) -> None:
    emulator.clear_audit()
    blob = stack.gcs("write-once").bucket(BUCKET).blob(existing, chunk_size=2**18)
    with pytest.raises(Forbidden, match=f"does not have {DELETE} access"):
        blob.upload_from_string(b"x" * 9 * 2**20)
    asked = [(entry["permission"], entry["method"]) for entry in emulator.audit() if entry["account"] == STRICT]
    assert (DELETE, "POST") in asked
    assert "PUT" not in {method for _, method in asked}, "nothing of it was sent"
    assert stack.gcs("mlflow-gc").bucket(BUCKET).blob(existing).download_as_bytes() == b"content"


def test_garbage_collections_account_deletes(stack: Stack, existing: str) -> None:
    bucket = stack.gcs("mlflow-gc").bucket(BUCKET)
    bucket.blob(existing).delete()
    assert not bucket.blob(existing).exists()


@pytest.mark.parametrize(
    ("headers", "message", "reason"),
    [
        ({}, "Anonymous caller does not have storage.objects.list access", "required"),
        ({"Authorization": "Bearer ya29.guess"}, "Invalid Credentials", "authError"),
    ],
)
def test_without_a_valid_token_nothing_passes(
    emulator: Emulator, headers: dict[str, str], message: str, reason: str
) -> None:
    answer = requests.get(f"{emulator.url}/storage/v1/b/{BUCKET}/o", headers=headers, timeout=30)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error["message"].startswith(message)
    assert error["errors"][0]["reason"] == reason


@pytest.mark.parametrize(
    "path", ["/{bucket}/{name}", "/batch/storage/v1", "/_internal/delete_all", "/storage/v1/b/x/acl"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_unmapped_requests_are_denied(stack: Stack, emulator: Emulator, existing: str, method: str, path: str) -> None:
    client = stack.gcs("mlflow-admin")
    client.bucket(BUCKET).blob(existing).reload()
    address = emulator.url + path.format(bucket=BUCKET, name=existing)
    headers = {"Authorization": f"Bearer {client._credentials.token}"}
    assert requests.request(method, address, headers=headers, timeout=30).status_code == 403
    assert client.bucket(BUCKET).blob(existing).download_as_bytes() == b"content"
