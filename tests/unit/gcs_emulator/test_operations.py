"""Every request is mapped to its permission by name; one that is not listed is denied."""

from __future__ import annotations

import pytest
from gateway import roles
from gateway.operations import wanted

OBJECT = "/storage/v1/b/bucket/o/folder%2Ffile.txt"


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", "/storage/v1/b/bucket/o", roles.LIST),
        ("GET", OBJECT, roles.GET),
        ("HEAD", OBJECT, roles.GET),
        ("GET", f"/download{OBJECT}", roles.GET),
        ("POST", "/upload/storage/v1/b/bucket/o", roles.CREATE),
        ("PUT", "/upload/storage/v1/b/bucket/o", roles.CREATE),
        ("DELETE", "/upload/storage/v1/b/bucket/o", roles.CREATE),
        ("POST", f"{OBJECT}/compose", roles.CREATE),
        ("POST", f"{OBJECT}/copyTo/b/bucket/o/copy", roles.CREATE),
        ("POST", f"{OBJECT}/rewriteTo/b/bucket/o/copy", roles.CREATE),
        ("PATCH", OBJECT, roles.UPDATE),
        ("PUT", OBJECT, roles.UPDATE),
        ("DELETE", OBJECT, roles.DELETE),
        ("GET", "/storage/v1/b/bucket", roles.BUCKET_GET),
        ("GET", "/storage/v1/b/bucket/storageLayout", roles.BUCKET_GET),
        ("PATCH", "/storage/v1/b/bucket", roles.BUCKET_UPDATE),
        ("DELETE", "/storage/v1/b/bucket", roles.BUCKET_DELETE),
        ("GET", "/storage/v1/b", roles.BUCKET_LIST),
        ("POST", "/storage/v1/b", roles.BUCKET_CREATE),
    ],
)
def test_a_known_request_needs_its_permission(method: str, path: str, permission: str) -> None:
    found = wanted(method, path, {})
    assert found is not None
    assert found.permission == permission


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/bucket/folder/file.txt"),
        ("PUT", "/bucket/folder/file.txt"),
        ("DELETE", "/bucket/folder/file.txt"),
        ("POST", "/batch/storage/v1"),
        ("POST", OBJECT),
        ("POST", "/storage/v1/b/bucket"),
        ("PUT", "/upload/resumable/1"),
        ("POST", "/_internal/delete_all"),
        ("PUT", "/_internal/config"),
        ("GET", f"{OBJECT}/acl"),
        ("GET", "/storage/v1/b/bucket/o/a/b"),
        ("GET", "http://gcs/storage/v1/b/bucket/o"),
        ("GET", "//storage/v1/b/bucket/o"),
        ("GET", "/storage/v1/b/bucket/../bucket/o"),
    ],
)
def test_an_unknown_request_is_denied(method: str, path: str) -> None:
    assert wanted(method, path, {}) is None


def test_names_are_decoded() -> None:
    found = wanted("GET", "/storage/v1/b/bucket/o/folder%2Fa%20b%3F.txt", {"alt": "media"})
    assert found is not None
    assert (found.bucket, found.name, found.media) == ("bucket", "folder/a b?.txt", True)


def test_a_copy_names_its_source() -> None:
    found = wanted("POST", f"{OBJECT}/copyTo/b/other/o/copy", {})
    assert found is not None
    assert (found.bucket, found.name) == ("other", "copy")
    assert (found.source_bucket, found.source_name) == ("bucket", "folder/file.txt")
    assert found.writes


def test_composing_reads_its_parts() -> None:
    found = wanted("POST", f"{OBJECT}/compose", {})
    assert found is not None
    assert found.source_bucket == "bucket"
