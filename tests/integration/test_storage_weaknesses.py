"""What is known to be weak in MinIO is closed: forged signatures, headers nobody signed, the console, open ports.

Each attack was seen to succeed on MinIO's last commit as it is; services/minio/patches says what closes it, and
docs/operators/exposure.md lists all of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import boto3
import pytest
import requests
from botocore.client import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .stack import COMPOSE_FILE, PORTS_FILE, Identity, Stack, wait_until

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# MinIO's own; the tests in gcs/ are about the emulated Cloud Storage.
pytestmark = pytest.mark.minio

BUCKET, KEPT, SECRET = "weaknesses", "kept.txt", "secret.txt"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
PAYLOADS = (
    None,
    "UNSIGNED-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    UNSIGNED_TRAILER,
)
EXTRACT = {"x-amz-meta-snowball-auto-extract": "true"}
MAKE_A_COPY = {"x-amz-copy-source": f"/{BUCKET}/{SECRET}"}


class Call(NamedTuple):
    """A request that changes or reads something, without credentials."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    """The S3 API's address; asked for once, since Compose takes its time to answer."""
    return stack.minio_url


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Identity:
    """MinIO's administrator."""
    return stack.minio_root


@pytest.fixture(scope="module")
def root(stack: Stack, admin: Identity) -> Iterator[S3Client]:
    """A client that acts as MinIO's administrator, with a bucket for these tests."""
    s3 = stack.s3(admin)
    s3.create_bucket(Bucket=BUCKET)
    for key in (KEPT, SECRET):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    yield s3
    for upload in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def intact(root: S3Client) -> Iterator[None]:
    """Proves after a test that nothing was added, changed or removed."""
    yield
    assert contents(root) == {key: key.encode() for key in (KEPT, SECRET)}
    assert root.get_object_tagging(Bucket=BUCKET, Key=KEPT)["TagSet"] == []


def contents(root: S3Client) -> dict[str, bytes]:
    """Returns the bucket's objects, by name."""
    names = [item["Key"] for item in root.list_objects_v2(Bucket=BUCKET)["Contents"]]
    return {name: root.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}


def archive(name: str) -> bytes:
    """Returns a tar archive with one file in it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as file:
        entry = tarfile.TarInfo(name)
        entry.size = len(name)
        file.addfile(entry, io.BytesIO(name.encode()))
    return target.getvalue()


def in_chunks(body: bytes) -> bytes:
    """Returns a body as one unsigned chunk with its checksum behind it."""
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big"))
    return b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(body), body, checksum)


def with_payload(call: Call, payload: str | None, raw: bool = False) -> Call:
    """Returns a call whose body is sent in this way, or (raw) only said to be."""
    headers = dict(call.headers)
    if payload:
        headers["x-amz-content-sha256"] = payload
    if not payload or not payload.startswith("STREAMING"):
        return call._replace(headers=headers)
    headers |= {"x-amz-decoded-content-length": str(len(call.body)), "content-encoding": "aws-chunked"}
    if payload.endswith("TRAILER"):
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    return call._replace(headers=headers, body=call.body if raw else in_chunks(call.body))


def send(url: str, call: Call) -> requests.Response:
    """Sends a call as it is."""
    address = f"{url}{call.path}" + (f"?{urlencode(call.query, quote_via=quote)}" if call.query else "")
    return requests.request(call.method, address, headers=call.headers, data=call.body, timeout=30)


def signed(url: str, call: Call, identity: Identity, when: datetime | None = None) -> Call:
    """Returns a call with a good signature in its Authorization header, over all of its headers."""
    when = when or datetime.now(UTC)
    digest = call.headers.get("x-amz-content-sha256") or hashlib.sha256(call.body).hexdigest()
    headers = {**call.headers, "x-amz-date": when.strftime("%Y%m%dT%H%M%SZ"), "x-amz-content-sha256": digest}
    covered = dict(sorted({**headers, "host": urlsplit(url).netloc}.items()))
    names = ";".join(covered)
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(call.query.items()))
    lines = "".join(f"{name}:{value}\n" for name, value in covered.items())
    canonical = "\n".join((call.method, call.path, query, lines, names, digest))
    scope = f"{when:%Y%m%d}/us-east-1/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{identity.secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), "sha256").digest()
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    claim = f"Credential={identity.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return call._replace(headers={**headers, "Authorization": f"AWS4-HMAC-SHA256 {claim}"})


def forged_header(call: Call, name: str, now: datetime) -> Call:
    """Returns a call that claims in its Authorization header to be from the owner of an access key."""
    headers = {**call.headers, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ")}
    covered = ";".join(sorted(["host", *(header.lower() for header in headers)]))
    credential = f"{name}/{now:%Y%m%d}/us-east-1/s3/aws4_request"
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={covered}, Signature={'0' * 64}"
    )
    return call._replace(headers=headers)


def forged_query(call: Call, name: str, now: datetime) -> Call:
    """Returns a call that claims in its query to be from the owner of an access key."""
    claim = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{name}/{now:%Y%m%d}/us-east-1/s3/aws4_request",
        "X-Amz-Date": now.strftime("%Y%m%dT%H%M%SZ"),
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": ";".join(sorted(["host", *(header.lower() for header in call.headers)])),
        "X-Amz-Signature": "0" * 64,
    }
    return call._replace(query=call.query | claim)


def forged_name(call: Call, name: str, now: datetime) -> Call:
    """Returns a call with nothing but an access key's name in its query."""
    return call._replace(query=call.query | {"X-Amz-Credential": f"{name}/{now:%Y%m%d}/us-east-1/s3/aws4_request"})


def forged_old_header(call: Call, name: str, now: datetime) -> Call:
    """Returns a call that claims it in an Authorization header of version 2."""
    date = now.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return call._replace(
        headers={**call.headers, "Date": date, "Authorization": f"AWS {name}:AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    )


def forged_old_query(call: Call, name: str, now: datetime) -> Call:
    """Returns a call that claims it in a query of version 2."""
    expires = str(int((now + timedelta(minutes=15)).timestamp()))
    claim = {"AWSAccessKeyId": name, "Expires": expires, "Signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    return call._replace(query=call.query | claim)


FORGERIES = {
    "header": forged_header,
    "query": forged_query,
    "name": forged_name,
    "old_header": forged_old_header,
    "old_query": forged_old_query,
}


@pytest.fixture(scope="module")
def calls(root: S3Client) -> dict[str, Call]:
    """What a forger could want to do."""
    upload = root.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    part = {"partNumber": "1", "uploadId": upload}
    tagging = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    deletion = f"<Delete><Object><Key>{KEPT}</Key></Object></Delete>".encode()
    digest = {"content-md5": base64.b64encode(hashlib.md5(deletion, usedforsecurity=False).digest()).decode()}
    policy = json.dumps({"Version": "2012-10-17", "Statement": []}).encode()
    return {
        "put": Call("PUT", f"/{BUCKET}/forged", {}, {}, b"forged"),
        "replace": Call("PUT", f"/{BUCKET}/{KEPT}", {}, {}, b"forged"),
        "part": Call("PUT", f"/{BUCKET}/parts", part, {}, b"forged"),
        "extract": Call("PUT", f"/{BUCKET}/forged.tar", {}, EXTRACT, archive("forged")),
        "copy": Call("PUT", f"/{BUCKET}/forged", {}, MAKE_A_COPY),
        "copy a part": Call("PUT", f"/{BUCKET}/parts", part, MAKE_A_COPY),
        "tag": Call("PUT", f"/{BUCKET}/{KEPT}", {"tagging": ""}, {}, tagging),
        "start an upload": Call("POST", f"/{BUCKET}/forged", {"uploads": ""}, {}),
        "delete": Call("DELETE", f"/{BUCKET}/{KEPT}", {}, {}),
        "delete many": Call("POST", f"/{BUCKET}", {"delete": ""}, digest, deletion),
        "read": Call("GET", f"/{BUCKET}/{SECRET}", {}, {}),
        "list": Call("GET", f"/{BUCKET}", {"list-type": "2"}, {}),
        "set the policy": Call("PUT", f"/{BUCKET}", {"policy": ""}, {}, policy),
        "make a bucket": Call("PUT", "/forged", {}, {}),
        "list the users": Call("GET", "/minio/admin/v3/list-users", {}, {}),
    }


def refused(answer: requests.Response) -> bool:
    """Returns whether a request was refused; one that deletes several objects is answered for each."""
    each = "<DeleteResult" in answer.text and "<Code>AccessDenied" in answer.text and "<Deleted>" not in answer.text
    return answer.status_code in (400, 403) or each


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.usefixtures("intact")
def test_forged_signature_is_refused(
    url: str, admin: Identity, root: S3Client, calls: dict[str, Call], forgery: str
) -> None:
    """Whoever knows an access key's name can do nothing with it: each call, with each way of sending its body."""
    name = admin.access_key
    obeyed = []
    for what, call in calls.items():
        for payload in PAYLOADS:
            for raw in (False, True) if payload and payload.startswith("STREAMING") else (False,):
                attempt = FORGERIES[forgery](with_payload(call, payload, raw), name, datetime.now(UTC))
                if not refused(send(url, attempt)):
                    obeyed.append((what, payload, raw))
    assert obeyed == []
    assert root.list_parts(Bucket=BUCKET, Key="parts", UploadId=calls["part"].query["uploadId"]).get("Parts", []) == []
    buckets = {bucket["Name"] for bucket in root.list_buckets()["Buckets"]}
    assert (BUCKET in buckets, "forged" in buckets) == (True, False)


@pytest.mark.usefixtures("intact")
def test_signature_under_anothers_name_is_refused(
    stack: Stack, url: str, admin: Identity, calls: dict[str, Call]
) -> None:
    """A good signature of the server's key proves nothing about the administrator's, which the query names."""
    for what, call in calls.items():
        for payload in (None, UNSIGNED_TRAILER):
            named = forged_name(with_payload(call, payload), admin.access_key, datetime.now(UTC))
            assert refused(send(url, signed(url, named, stack.bucket_identity))), what


@pytest.mark.usefixtures("intact")
def test_forged_form_is_refused(url: str, admin: Identity) -> None:
    now = datetime.now(UTC)
    policy = {"expiration": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": []}
    name = admin.access_key
    form = {"key": "forged", "policy": base64.b64encode(json.dumps(policy).encode()).decode()}
    new = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{name}/{now:%Y%m%d}/us-east-1/s3/aws4_request",
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-signature": "0" * 64,
    }
    for claim in (new, {"AWSAccessKeyId": name, "Signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}):
        answer = requests.post(
            f"{url}/{BUCKET}", data={**form, **claim}, files={"file": ("forged", b"forged")}, timeout=30
        )
        assert answer.status_code == 403


@pytest.mark.usefixtures("intact")
def test_old_request_is_not_replayed(url: str, admin: Identity) -> None:
    """A recorded upload with unsigned chunks stays valid no longer than any other request."""
    call = with_payload(Call("PUT", f"/{BUCKET}/replayed", {}, {}, b"replayed"), UNSIGNED_TRAILER)
    old = datetime.now(UTC) - timedelta(hours=1)
    answer = send(url, signed(url, call, admin, old))
    assert (answer.status_code, "RequestTimeTooSkewed" in answer.text) == (403, True)


def test_unsigned_chunks_are_stored_for_who_signs(url: str, admin: Identity, root: S3Client) -> None:
    """The way of sending itself still works: as an object, as a part, and as an archive that is extracted."""
    upload = root.create_multipart_upload(Bucket=BUCKET, Key="in-parts")["UploadId"]
    part = {"partNumber": "1", "uploadId": upload}
    put = Call("PUT", f"/{BUCKET}/in-chunks", {}, {}, b"in chunks")
    extract = Call("PUT", f"/{BUCKET}/any.tar", {}, EXTRACT, archive("extracted"))
    in_part = Call("PUT", f"/{BUCKET}/in-parts", part, {}, b"part")
    for call in (put, extract, in_part):
        answer = send(url, signed(url, with_payload(call, UNSIGNED_TRAILER), admin))
        assert answer.status_code == 200, answer.text
    assert [entry["Size"] for entry in root.list_parts(Bucket=BUCKET, Key="in-parts", UploadId=upload)["Parts"]] == [4]
    root.abort_multipart_upload(Bucket=BUCKET, Key="in-parts", UploadId=upload)
    found = contents(root)
    assert (found["in-chunks"], found["extracted"]) == (b"in chunks", b"extracted")
    for name in ("in-chunks", "extracted"):
        root.delete_object(Bucket=BUCKET, Key=name)


# Headers of a client's choice -----------------------------------------------------------------------------------------

UNSIGNED: Mapping[str, Mapping[str, str]] = {
    "copy": MAKE_A_COPY,
    "copy_range": {**MAKE_A_COPY, "x-amz-copy-source-range": "bytes=0-2"},
    "metadata": {"x-amz-meta-colour": "red"},
    "extract": EXTRACT,
    "tags": {"x-amz-tagging": "a=b"},
    "storage_class": {"x-amz-storage-class": "REDUCED_REDUNDANCY"},
    "lock": {"x-amz-object-lock-legal-hold": "ON"},
    "replica": {"x-minio-source-replication-request": "true", "x-minio-source-mtime": "2001-01-01T00:00:00Z"},
}


def presigner(url: str, admin: Identity, version: str) -> S3Client:
    """Returns a client that presigns with the administrator's key, in this version of the signature."""
    config = Config(signature_version=version, s3={"addressing_style": "path"}, proxies={})
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=admin.access_key,
        aws_secret_access_key=admin.secret_key,
        region_name="us-east-1",
        config=config,
    )
    return client


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("header", UNSIGNED)
@pytest.mark.usefixtures("intact")
def test_unsigned_header_on_presigned_upload(url: str, admin: Identity, version: str, header: str) -> None:
    """Whoever holds an address for an upload can upload, and nothing else: not copy what it could not read."""
    place = {"Bucket": BUCKET, "Key": "uploaded"}
    address = presigner(url, admin, version).generate_presigned_url("put_object", Params=place)
    answer = requests.put(address, data=b"", headers=UNSIGNED[header], timeout=30)
    assert answer.status_code in (400, 403), answer.text


@pytest.mark.usefixtures("intact")
def test_unsigned_copy_on_presigned_part(url: str, admin: Identity, root: S3Client) -> None:
    upload = root.create_multipart_upload(Bucket=BUCKET, Key="uploaded")["UploadId"]
    place = {"Bucket": BUCKET, "Key": "uploaded", "UploadId": upload, "PartNumber": 1}
    address = presigner(url, admin, "s3v4").generate_presigned_url("upload_part", Params=place)
    assert requests.put(address, data=b"", headers=MAKE_A_COPY, timeout=30).status_code in (400, 403)
    assert root.list_parts(Bucket=BUCKET, Key="uploaded", UploadId=upload).get("Parts", []) == []
    root.abort_multipart_upload(Bucket=BUCKET, Key="uploaded", UploadId=upload)


@pytest.mark.parametrize("header", UNSIGNED)
@pytest.mark.usefixtures("intact")
def test_unsigned_header_on_signed_request(url: str, admin: Identity, header: str) -> None:
    """The same for who can add headers to another's request on its way."""
    for payload in (None, "UNSIGNED-PAYLOAD", UNSIGNED_TRAILER):
        call = with_payload(Call("PUT", f"/{BUCKET}/uploaded", {}, {}), payload)
        done = signed(url, call, admin)
        answer = send(url, done._replace(headers={**done.headers, **UNSIGNED[header]}))
        assert answer.status_code in (400, 403), (payload, answer.text)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_requests_work(url: str, admin: Identity, root: S3Client, version: str) -> None:
    """Upload, download and copy by presigned addresses, with the headers that were signed."""
    signer = presigner(url, admin, version)
    place = {"Bucket": BUCKET, "Key": "uploaded"}
    put = signer.generate_presigned_url("put_object", Params=place)
    assert requests.put(put, data=b"uploaded", timeout=30).status_code == 200
    get = signer.generate_presigned_url("get_object", Params=place)
    assert requests.get(get, timeout=30).content == b"uploaded"
    copy = signer.generate_presigned_url("copy_object", Params={**place, "CopySource": f"/{BUCKET}/{SECRET}"})
    assert requests.put(copy, headers=MAKE_A_COPY, timeout=30).status_code == 200
    assert contents(root)["uploaded"] == SECRET.encode()
    root.delete_object(Bucket=BUCKET, Key="uploaded")


def test_tags_and_metadata_work_when_signed(root: S3Client) -> None:
    """Also where the server itself adds headers to a request before it looks at its permissions again."""
    root.put_object(Bucket=BUCKET, Key="tagged", Body=b"x", Metadata={"colour": "red"}, Tagging="a=b")
    assert root.get_object(Bucket=BUCKET, Key="tagged")["Metadata"] == {"colour": "red"}
    root.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": [{"Key": "c", "Value": "d"}]})
    assert root.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == [{"Key": "c", "Value": "d"}]
    root.delete_object_tagging(Bucket=BUCKET, Key="tagged")
    assert root.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == []
    root.delete_object(Bucket=BUCKET, Key="tagged")


def test_object_stays_readable_whatever_its_headers(url: str, admin: Identity, root: S3Client) -> None:
    """Headers that only a replicating server has a use for do not become the object's encryption metadata."""
    prefix = "x-minio-replication-server-side-encryption-"
    headers = {
        f"{prefix}sealed-key": base64.b64encode(bytes(64)).decode(),
        f"{prefix}seal-algorithm": "DAREv2-HMAC-SHA256",
        f"{prefix}iv": base64.b64encode(bytes(32)).decode(),
    }
    for more in ({}, {"x-minio-source-replication-request": "true"}):
        call = Call("PUT", f"/{BUCKET}/readable", {}, {**headers, **more}, b"readable")
        assert send(url, signed(url, call, admin)).status_code == 200
        assert contents(root)["readable"] == b"readable"
        root.delete_object(Bucket=BUCKET, Key="readable")


@pytest.mark.usefixtures("intact")
def test_no_query_language(root: S3Client) -> None:
    """A query that reads a line of any length into memory is not answered."""
    with pytest.raises(ClientError) as answer:
        root.select_object_content(
            Bucket=BUCKET,
            Key=KEPT,
            Expression="SELECT * FROM S3Object",
            ExpressionType="SQL",
            InputSerialization={"CSV": {}},
            OutputSerialization={"CSV": {}},
        )
    assert answer.value.response["Error"]["Code"] == "BadRequest"


# The console and the ports --------------------------------------------------------------------------------------------


def session_cookie(key: str, claims: Mapping[str, str]) -> str:
    """Returns a cookie as the console encrypts it, with a session key that is derived from a known word."""
    derived = hashlib.pbkdf2_hmac("sha1", key.encode(), key.encode(), 4096, 32)
    salt, nonce = os.urandom(16), os.urandom(12)
    sealing = hmac.new(derived, salt, "sha256").digest()
    sealed = AESGCM(sealing).encrypt(nonce, json.dumps(claims).encode(), b"")
    return base64.b64encode(b"\0" + salt + nonce + sealed).decode()


def test_console_session_cannot_be_made_up(stack: Stack, url: str, admin: Identity) -> None:
    """Its key does not follow from the deployment's identifier, which is no secret."""
    console = f"http://127.0.0.1:{stack.port('minio', 9001)}/api/v1"
    login = requests.post(
        f"{console}/login", json={"accessKey": admin.access_key, "secretKey": admin.secret_key}, timeout=30
    )
    assert login.status_code == 204, login.text
    own = {"token": login.cookies["token"]}
    assert requests.get(f"{console}/session", cookies=own, timeout=30).status_code == 200, "the request is wrong"

    info = send(url, signed(url, Call("GET", "/minio/admin/v3/info", {}, {}), admin)).json()
    sts = boto3.client(
        "sts",
        endpoint_url=url,
        aws_access_key_id=admin.access_key,
        aws_secret_access_key=admin.secret_key,
        region_name="us-east-1",
    )
    # Credentials that are good, so that only the cookie's key is in question.
    role = sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/any", RoleSessionName="any")["Credentials"]
    claims = {
        "stsAccessKeyID": role["AccessKeyId"],
        "stsSecretAccessKey": role["SecretAccessKey"],
        "stsSessionToken": role["SessionToken"],
        "accountAccessKey": admin.access_key,
    }
    made_up = {"token": session_cookie(info["deploymentID"], claims)}
    assert requests.get(f"{console}/session", cookies=made_up, timeout=30).status_code in (401, 403)


def default_services(stack: Stack) -> dict[str, Any]:
    """Returns the services of the compose file alone, with the profile that is the default."""
    alone = Stack.__new__(Stack)
    alone.__dict__ |= {**stack.__dict__, "files": [COMPOSE_FILE]}
    assert PORTS_FILE in stack.files, "these tests would ask for ports, and find what is there anyway"
    services: dict[str, Any] = json.loads(alone.compose("config", "--format", "json").stdout)["services"]
    return services


def test_only_the_trackers_port_is_published(stack: Stack) -> None:
    published = {name: [port["target"] for port in s.get("ports", [])] for name, s in default_services(stack).items()}
    assert {name: ports for name, ports in published.items() if ports} == {"edge": [5000]}


def test_console_is_off_unless_asked_for(stack: Stack) -> None:
    """A server with the settings of the compose file alone listens for S3 requests only."""
    settings = default_services(stack)["minio"]["environment"]
    own = {name: value for name, value in settings.items() if not name.startswith("MINIO_ROOT")}
    container = stack.docker.containers.run(
        stack.image("minio"), environment=own, tmpfs={"/data": "uid=1000"}, detach=True
    )
    probe = "exec 3<>/dev/tcp/127.0.0.1/{}"
    try:
        wait_until(lambda: container.exec_run(["healthcheck"]).exit_code == 0, "MinIO answers", 30)
        assert container.exec_run(["bash", "-c", probe.format(9000)]).exit_code == 0
        assert container.exec_run(["bash", "-c", probe.format(9001)]).exit_code != 0
    finally:
        container.remove(force=True, v=True)
