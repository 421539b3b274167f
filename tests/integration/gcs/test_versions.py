"""The emulated bucket is versioned, as the one that deploy/gcp/provision makes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from ..stack import BUCKET, Stack


@pytest.fixture
def bucket(stack: Stack) -> Any:
    """The bucket, by an account that may write and delete."""
    return stack.gcs("mlflow-gc").bucket(BUCKET)


@pytest.fixture
def name() -> str:
    """A name that no object has."""
    return f"versions/{uuid.uuid4().hex}"


def contents(bucket: Any, name: str) -> list[bytes]:
    """Returns the contents of an object's versions, the oldest first."""
    found = bucket.list_blobs(prefix=name, versions=True)
    return [bucket.blob(name, generation=one.generation).download_as_bytes() for one in found]


def test_replaced_and_deleted_versions_are_kept(bucket: Any, name: str) -> None:
    for content in ("first", "second"):
        bucket.blob(name).upload_from_string(content, content_type="text/plain")
    assert contents(bucket, name) == [b"first", b"second"]
    assert [one.name for one in bucket.list_blobs(prefix=name)] == [name]
    older, newer = bucket.list_blobs(prefix=name, versions=True)
    described = bucket.get_blob(name, generation=older.generation)
    assert (described.name, described.size, described.content_type) == (name, 5, "text/plain")
    bucket.blob(name).delete()
    assert not bucket.blob(name).exists()
    assert contents(bucket, name) == [b"first", b"second"]
    for version in (older, newer):
        bucket.delete_blob(name, generation=version.generation)
    assert contents(bucket, name) == []
    with pytest.raises(NotFound):
        bucket.delete_blob(name, generation=older.generation)
    with pytest.raises(NotFound):
        bucket.blob(name, generation=older.generation).download_as_bytes()


def test_version_deleted_by_generation_is_gone(bucket: Any, name: str) -> None:
    """Present version deleted by its generation is gone."""
    for content in ("first", "second"):
        bucket.blob(name).upload_from_string(content)
    _, present = bucket.list_blobs(prefix=name, versions=True)
    bucket.delete_blob(name, generation=present.generation)
    assert contents(bucket, name) == [b"first"]


def test_upload_that_never_ends_makes_no_version(bucket: Any, name: str) -> None:
    """A large upload replaces at its end only; until then the object has one version."""
    bucket.blob(name).upload_from_string("first")
    blob = bucket.blob(name, chunk_size=2**18)
    address = blob.create_resumable_upload_session(size=2**20)
    headers = {"Content-Range": f"bytes 0-{2**18 - 1}/{2**20}"}
    answer = bucket.client._http.put(address, data=bytes(2**18), headers=headers)
    assert answer.status_code == 308
    assert contents(bucket, name) == [b"first"]
    bucket.blob(name, chunk_size=2**18).upload_from_string(bytes(2**20))
    assert contents(bucket, name) == [b"first", bytes(2**20)]


def test_kept_versions_are_no_bucket_of_their_own(stack: Stack) -> None:
    admin = stack.gcs("mlflow-admin")
    assert admin.lookup_bucket(f"{BUCKET}.noncurrent") is None
    with pytest.raises(NotFound):
        list(admin.bucket(f"{BUCKET}.noncurrent").list_blobs())
