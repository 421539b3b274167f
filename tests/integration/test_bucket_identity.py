"""The tracking server's key pair may create, read and list objects in its bucket, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from .stack import Identity, Stack

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# MinIO's identities; those of Cloud Storage are in gcs/test_roles.py.
pytestmark = pytest.mark.minio

BUCKET, OTHER, KEY = "mlflow", "someone-elses", "probe/object.txt"

DENIED: dict[str, Callable[[S3Client], Any]] = {
    "delete an object": lambda s3: s3.delete_object(Bucket=BUCKET, Key=KEY),
    "delete a version": lambda s3: s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId="null"),
    "delete the bucket": lambda s3: s3.delete_bucket(Bucket=BUCKET),
    "create a bucket": lambda s3: s3.create_bucket(Bucket="mine"),
    "list another bucket": lambda s3: s3.list_objects_v2(Bucket=OTHER),
    "read from another bucket": lambda s3: s3.get_object(Bucket=OTHER, Key=KEY),
    "write to another bucket": lambda s3: s3.put_object(Bucket=OTHER, Key="mine", Body=b"x"),
    "copy from another bucket": lambda s3: s3.copy_object(
        Bucket=BUCKET, Key="stolen", CopySource={"Bucket": OTHER, "Key": KEY}
    ),
    "change the bucket's policy": lambda s3: s3.put_bucket_policy(Bucket=BUCKET, Policy='{"Statement": []}'),
    "read the bucket's policy": lambda s3: s3.get_bucket_policy(Bucket=BUCKET),
    "change the bucket's versioning": lambda s3: s3.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    ),
    "let the bucket's objects expire": lambda s3: s3.put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={
            "Rules": [{"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
        },
    ),
}


@pytest.fixture(scope="module")
def root(stack: Stack) -> S3Client:
    """MinIO's administrator, with another bucket and an object in each."""
    s3 = stack.s3(stack.minio_root)
    s3.create_bucket(Bucket=OTHER)
    for bucket in (BUCKET, OTHER):
        s3.put_object(Bucket=bucket, Key=KEY, Body=b"content")
    return s3


@pytest.fixture(scope="module")
def server(stack: Stack, root: S3Client) -> S3Client:
    """An S3 client that acts as the tracking server."""
    return stack.s3(stack.bucket_identity)


@pytest.fixture
def intact(root: S3Client) -> Iterator[None]:
    """Proves after a test that the objects are what they were, and that nothing was added."""
    yield
    assert root.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"content"
    assert [item["Key"] for item in root.list_objects_v2(Bucket=OTHER)["Contents"]] == [KEY]
    assert {bucket["Name"] for bucket in root.list_buckets()["Buckets"]} == {BUCKET, OTHER}


def admin_status(stack: Stack, identity: Identity) -> int:
    """Returns the HTTP status of MinIO's answer to a signed request for the list of its users."""
    url = f"{stack.minio_url}/minio/admin/v3/list-users"
    request = AWSRequest("GET", url)
    S3SigV4Auth(Credentials(*identity), "s3", "us-east-1").add_auth(request)
    return requests.get(url, headers=dict(request.headers), timeout=30).status_code


def test_server_identity_may_create_and_read(server: S3Client) -> None:
    """Server identity may create read and list objects."""
    server.put_object(Bucket=BUCKET, Key="probe/own.txt", Body=b"own")
    assert server.get_object(Bucket=BUCKET, Key="probe/own.txt")["Body"].read() == b"own"
    listed = server.list_objects_v2(Bucket=BUCKET, Prefix="probe/")["Contents"]
    assert {item["Key"] for item in listed} >= {"probe/own.txt", KEY}


def test_server_identity_may_upload_in_parts(server: S3Client) -> None:
    """Server identity may upload in parts and give up."""
    upload = server.create_multipart_upload(Bucket=BUCKET, Key="probe/parts")["UploadId"]
    server.upload_part(Bucket=BUCKET, Key="probe/parts", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    server.abort_multipart_upload(Bucket=BUCKET, Key="probe/parts", UploadId=upload)
    assert "Uploads" not in server.list_multipart_uploads(Bucket=BUCKET, Prefix="probe/parts")


@pytest.mark.parametrize("attempt", DENIED.values(), ids=DENIED.keys())
@pytest.mark.usefixtures("intact")
def test_server_identity_is_denied_to(server: S3Client, attempt: Callable[[S3Client], Any]) -> None:
    with pytest.raises(ClientError) as denied:
        attempt(server)
    assert denied.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.usefixtures("intact")
def test_server_identity_may_not_delete_many(server: S3Client) -> None:
    """Server identity is denied to delete many at once."""
    answer = server.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": KEY}]})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert "Deleted" not in answer


def test_server_identity_sees_no_other_bucket(server: S3Client) -> None:
    assert [bucket["Name"] for bucket in server.list_buckets()["Buckets"]] == [BUCKET]


def test_server_identity_has_no_say_in_administration(stack: Stack) -> None:
    assert admin_status(stack, stack.minio_root) == 200, "the request itself is wrong"
    assert admin_status(stack, stack.bucket_identity) == 403


def test_bucket_is_closed_without_credentials(stack: Stack, root: S3Client) -> None:
    config = Config(signature_version=UNSIGNED, proxies={}, s3={"addressing_style": "path"})
    nobody = boto3.client("s3", endpoint_url=stack.minio_url, region_name="us-east-1", config=config)
    with pytest.raises(ClientError) as denied:
        nobody.get_object(Bucket=BUCKET, Key=KEY)
    assert denied.value.response["Error"]["Code"] == "AccessDenied"


def test_bucket_is_closed_to_guessed_passwords(stack: Stack) -> None:
    for identity in (Identity("minioadmin", "minioadmin"), Identity(stack.bucket_identity.access_key, "guessed-it")):
        with pytest.raises(ClientError) as denied:
            stack.s3(identity).list_objects_v2(Bucket=BUCKET)
        assert denied.value.response["Error"]["Code"] in ("InvalidAccessKeyId", "SignatureDoesNotMatch")


def test_gc_identity_may_only_list_and_delete(stack: Stack, root: S3Client) -> None:
    """Garbage collection may list and delete and nothing else."""
    root.put_object(Bucket=BUCKET, Key="probe/old.txt", Body=b"old")
    gc = stack.s3(stack.gc_identity)
    refused: list[Callable[[], Any]] = [
        lambda: gc.get_object(Bucket=BUCKET, Key=KEY),
        lambda: gc.put_object(Bucket=BUCKET, Key="probe/new.txt", Body=b"new"),
        lambda: gc.list_objects_v2(Bucket=OTHER),
        lambda: gc.delete_object(Bucket=OTHER, Key=KEY),
        lambda: gc.delete_bucket(Bucket=BUCKET),
    ]
    for attempt in refused:
        with pytest.raises(ClientError) as denied:
            attempt()
        assert denied.value.response["Error"]["Code"] == "AccessDenied"
    assert admin_status(stack, stack.gc_identity) == 403
    gc.delete_object(Bucket=BUCKET, Key="probe/old.txt")
    listed = gc.list_objects_v2(Bucket=BUCKET, Prefix="probe/")["Contents"]
    assert "probe/old.txt" not in {item["Key"] for item in listed}
