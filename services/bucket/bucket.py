"""Creates the bucket, and the identities that may use it: the MLflow server's, garbage collection's, perhaps clients'.

The server's can write, read and list objects in this bucket and nothing else. It can delete nothing and sees no other
bucket. Clients that write to the bucket themselves (compose.direct.yaml) get the same. Garbage collection's can list
and delete. Everything here can be repeated at each start: a changed secret is a changed password, a changed access key
leaves no user behind.

The bucket is versioned, as the one that deploy/gcp/provision makes: what is replaced stays an older version for a
while. So also with ARTIFACT_OVERWRITE=refuse, since S3 has no permission to write new names only: there the server puts
that condition on its own writes, and whoever else holds a key, in direct mode, does not.

With --versions it prepares nothing: it lists the versions of an artifact, and makes an older one the newest again.

A stack whose artifacts are in Google Cloud Storage is left there, unless --replace is given: this profile is the
default, so a command that merely names no profile would otherwise move the stack.
"""

import argparse
import configparser
import io
import json
import os
import sys
import time
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED, CopySource, Filter
from minio.credentials import Credentials
from minio.error import S3Error
from minio.lifecycleconfig import LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.signer import sign_v4_s3
from minio.versioningconfig import VersioningConfig

# Each identity's policy: what it may do with objects, and with the bucket, where listing needs it.
WRITER = (
    ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
    ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
)
ACTIONS = {
    "mlflow-server": WRITER,
    "mlflow-client": WRITER,
    "mlflow-gc": (
        ["s3:DeleteObject", "s3:DeleteObjectVersion"],
        ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketLocation"],
    ),
}
# How long an older version stays, and the rule that says so: as in deploy/gcp/lifecycle.json.
OLDER_VERSIONS_DAYS, RULE = 30, "older-versions"
DESTINATION = Path("/run/artifact-store/destination")
# An address that worked once and that the gcs profile's last check has refused.
REFUSED = DESTINATION.with_suffix(".refused")


def policy(bucket: str, name: str) -> dict[str, object]:
    """Returns a policy document."""
    objects, whole = ACTIONS[name]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": objects, "Resource": [f"arn:aws:s3:::{bucket}/*"]},
            {"Effect": "Allow", "Action": whole, "Resource": [f"arn:aws:s3:::{bucket}"]},
        ],
    }


def wait_until_ready(client: Minio, seconds: float = 60.0) -> None:
    """Waits until the storage answers; raises what the last attempt raised when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.list_buckets()
        except (urllib3.exceptions.HTTPError, S3Error) as error:
            # XMinioServerNotInitialized: it listens, but has not read its users yet.
            starting = not isinstance(error, S3Error) or error.code == "XMinioServerNotInitialized"
            if not starting or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def create_bucket(client: Minio, bucket: str) -> None:
    """Creates the bucket unless it is there, and makes it keep what is replaced for a while."""
    if not client.bucket_exists(bucket_name=bucket):
        client.make_bucket(bucket_name=bucket)
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    rule = Rule(
        rule_id=RULE,
        status=ENABLED,
        rule_filter=Filter(prefix=""),
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=OLDER_VERSIONS_DAYS),
    )
    known = client.get_bucket_lifecycle(bucket_name=bucket)
    # Rules that someone has added stay.
    others = [one for one in known.rules if one.rule_id != RULE] if known else []
    client.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig([*others, rule]))


def identity_archive(bucket: str, identities: dict[str, Credentials]) -> bytes:
    """Returns policies, users and their connections as the archive that MinIO's identity import takes."""
    assets = {
        "policies": {name: policy(bucket, name) for name in identities},
        "users": {key.access_key: {"secretKey": key.secret_key, "status": "enabled"} for key in identities.values()},
        "user_mappings": {key.access_key: {"version": 1, "policy": name} for name, key in identities.items()},
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in assets.items():
            file.writestr(f"iam-assets/{name}.json", json.dumps(content))
    return archive.getvalue()


def ask_admin(
    http: urllib3.PoolManager, endpoint: str, root: Credentials, method: str, call: str, body: bytes = b""
) -> urllib3.BaseHTTPResponse:
    """Returns the answer of MinIO's administration to a signed request.

    Raises:
        RuntimeError: MinIO refused it; the message is MinIO's.
    """
    url = urlsplit(f"http://{endpoint}/minio/admin/v3/{call}")
    now = datetime.now(UTC)
    digest = sha256(body).hexdigest()
    headers = {"Host": url.netloc, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"), "x-amz-content-sha256": digest}
    signed = sign_v4_s3(
        method=method, url=url, region="us-east-1", headers=headers, credentials=root, content_sha256=digest, date=now
    )
    response = http.request(method, url.geturl(), body=body, headers=signed)
    if response.status not in (200, 204):
        raise RuntimeError(f"{call.partition('?')[0]}: {response.data.decode(errors='replace') or response.status}")
    return response


def create_identities(http: urllib3.PoolManager, endpoint: str, root: Credentials, archive: bytes) -> None:
    """Imports the identities: creates what is not there, replaces what is.

    The single calls of the admin API (add user, attach policy) would do as well, but each makes MinIO derive a key in
    64 MiB of memory, which it then keeps: an idle server of 170 MiB instead of 60.

    Raises:
        RuntimeError: MinIO refused a part of it; the message is MinIO's.
    """
    answer = json.loads(ask_admin(http, endpoint, root, "PUT", "import-iam-v2", archive).data or b"{}")
    failed = {kind: entries for kind, entries in answer.get("failed", {}).items() if entries}
    if failed:
        raise RuntimeError(f"the identities were refused: {failed}")


def remove_former_identities(
    http: urllib3.PoolManager, endpoint: str, root: Credentials, identities: dict[str, Credentials]
) -> None:
    """Removes the users that earlier access keys have left: a key that was replaced opens nothing.

    Raises:
        RuntimeError: MinIO refused it; the message is MinIO's.
    """
    export = io.BytesIO(ask_admin(http, endpoint, root, "GET", "export-iam").data)
    with zipfile.ZipFile(export) as file:
        mappings = json.loads(file.read("iam-assets/user_mappings.json"))
    for user, mapping in mappings.items():
        of_now = identities.get(mapping["policy"])
        if mapping["policy"] in ACTIONS and (of_now is None or user != of_now.access_key):
            ask_admin(http, endpoint, root, "DELETE", f"remove-user?{urlencode({'accessKey': user})}")


def write_destination(bucket: str) -> None:
    """Tells the MLflow server where its artifacts go: a file in a volume that it reads when it starts."""
    new = DESTINATION.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.write_text(f"s3://{bucket}/\n")
    new.chmod(0o444)
    new.replace(DESTINATION)
    REFUSED.unlink(missing_ok=True)


def cloud_destination() -> str:
    """Returns the address in Google Cloud Storage that the stack's artifacts have; empty when they have none."""
    addresses = [file.read_text().strip() for file in (DESTINATION, REFUSED) if file.exists()]
    return next((address for address in addresses if address.startswith("gs://")), "")


def read_credentials(file: Path) -> Credentials:
    """Returns the key pair in a file of the AWS tools' format; exits with status 1 and one line when there is none."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text())
        return Credentials(parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"])
    except (OSError, UnicodeDecodeError, KeyError, configparser.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a [default] key pair in the AWS tools' format"
        sys.exit(f"bucket: error: {file}: {reason}")


def overwriting() -> str:
    """Returns what becomes of a name that is written again; exits with status 1 and one line for a wrong setting."""
    setting = os.environ.get("ARTIFACT_OVERWRITE") or "allow"
    kinds = {"allow": "is replaced, and the older version kept", "refuse": "is refused"}
    if setting not in kinds:
        sys.exit(f"bucket: error: ARTIFACT_OVERWRITE is {setting}: it can be allow or refuse")
    return kinds[setting]


def administrator() -> Credentials:
    """Returns the key pair of MinIO's administrator."""
    files = [os.environ[name] for name in ("MINIO_ROOT_USER_FILE", "MINIO_ROOT_PASSWORD_FILE")]
    return Credentials(*(Path(file).read_text().strip() for file in files))


def show_versions(bucket: str, endpoint: str, name: str, restore: str | None) -> None:
    """Prints an artifact's versions, the newest first; makes one of them the newest before, if its id is given.

    Exits with status 1 and one line when there is no such artifact or version.
    """
    root = administrator()
    http = urllib3.PoolManager(retries=False, timeout=10)
    client = Minio(
        endpoint=endpoint, access_key=root.access_key, secret_key=root.secret_key, secure=False, http_client=http
    )
    try:
        if restore:
            client.copy_object(
                bucket_name=bucket, object_name=name, source=CopySource(bucket, name, version_id=restore)
            )
        found = list(client.list_objects(bucket_name=bucket, prefix=name, include_version=True))
    except (urllib3.exceptions.HTTPError, S3Error, ValueError) as error:
        sys.exit(f"bucket: error: {name}: {getattr(error, 'message', None) or error}")
    versions = [one for one in found if one.object_name == name]
    if not versions:
        sys.exit(f"bucket: error: there is no artifact {name}: its path is EXPERIMENT_ID/RUN_ID/artifacts/PATH")
    for one in versions:
        print(f"{one.version_id}  {one.last_modified:%Y-%m-%d %H:%M:%S} UTC  {one.size or 0:>12,} bytes")


def prepare(bucket: str, endpoint: str) -> None:
    """Reads the secrets from their files and sets bucket and identity up.

    Exits with status 1 and one line when something is refused.
    """
    root = administrator()
    files = {"mlflow-server": "AWS_SHARED_CREDENTIALS_FILE", "mlflow-gc": "GC_CREDENTIALS_FILE"}
    if os.environ.get("CLIENT_CREDENTIALS_FILE"):
        files["mlflow-client"] = "CLIENT_CREDENTIALS_FILE"
    identities = {name: read_credentials(Path(os.environ[variable])) for name, variable in files.items()}
    # No retries inside the client: wait_until_ready polls, with a bound.
    http = urllib3.PoolManager(retries=False, timeout=10)
    client = Minio(
        endpoint=endpoint, access_key=root.access_key, secret_key=root.secret_key, secure=False, http_client=http
    )
    server = identities["mlflow-server"]
    try:
        wait_until_ready(client)
        create_bucket(client, bucket)
        create_identities(http, endpoint, root, identity_archive(bucket, identities))
        remove_former_identities(http, endpoint, root, identities)
        # As the server will: an identity that does not work should stop the start here, not the first upload.
        as_server = Minio(
            endpoint=endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
            secure=False,
            http_client=http,
        )
        next(iter(as_server.list_objects(bucket_name=bucket)), None)
    except (urllib3.exceptions.HTTPError, S3Error, RuntimeError, ValueError) as error:
        sys.exit(f"bucket: error: {endpoint}: {error}")


def main() -> None:
    """Prepares the storage, and lets the server start.

    Compose starts the server even when this fails, because it is one of two services of which only one is in a profile.
    So a failure takes away the address that an earlier success has left: without it, the server refuses to start.
    """
    parser = argparse.ArgumentParser(prog="bucket", description="Prepares MinIO for the artifacts.")
    parser.add_argument("--replace", action="store_true", help="also when the artifacts are in Google Cloud Storage")
    parser.add_argument("--versions", metavar="PATH", help="list the versions of this artifact, and prepare nothing")
    parser.add_argument("--restore", metavar="VERSION", help="with --versions: make this version the newest")
    options = parser.parse_args()
    if options.restore and not options.versions:
        parser.error("--restore takes --versions too, which names the artifact")
    if (address := cloud_destination()) and not options.replace:
        sys.exit(
            f"bucket: error: this stack's artifacts are in {address}: nothing was changed. Choose that profile"
            " (export COMPOSE_PROFILES=gcs), or change to MinIO: docker compose run --rm bucket --replace"
        )
    bucket = os.environ["BUCKET"]
    if options.versions:
        show_versions(bucket, os.environ["MINIO_ENDPOINT"], options.versions, options.restore)
        return
    try:
        repeated = overwriting()
        prepare(bucket, os.environ["MINIO_ENDPOINT"])
    except BaseException:
        DESTINATION.unlink(missing_ok=True)
        raise
    write_destination(bucket)
    print(f"bucket: {bucket} is there; the server's identity may write, read and list objects in it")
    print(f"bucket: a name that is written again {repeated}")


if __name__ == "__main__":
    main()
