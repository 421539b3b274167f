"""Creates the bucket, and the one identity that may use it: the MLflow server's.

The identity can create, read and list objects in this bucket and nothing else: what Google's roles Storage Object Creator and Storage
Object Viewer allow. It can delete nothing and sees no other bucket. Everything here can be repeated at each start; a changed secret
is a changed password.
"""

import configparser
import json
import os
import sys
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, S3Error

POLICY = "mlflow-server"


def policy(bucket: str) -> dict[str, object]:
    """Returns the policy document: the object permissions, and the few on the bucket that listing needs."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
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
    """Creates the bucket unless it is there."""
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)


def create_identity(admin: MinioAdmin, bucket: str, access_key: str, secret_key: str) -> None:
    """Creates the user, or sets its secret; gives it the policy, and no other."""
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy(bucket), file)
        file.flush()
        admin.policy_add(policy_name=POLICY, policy_file=file.name)
    admin.user_add(access_key=access_key, secret_key=secret_key)
    try:
        admin.attach_policy(policies=[POLICY], user=access_key)
    except MinioAdminException as error:
        if "XMinioAdminPolicyChangeAlreadyApplied" not in str(error):
            raise


def main() -> None:
    """Reads the secrets from their files; exits with status 1 and one line when something is refused."""
    bucket, endpoint = os.environ["BUCKET"], os.environ["MINIO_ENDPOINT"]
    root_user = Path(os.environ["MINIO_ROOT_USER_FILE"]).read_text().strip()
    root_password = Path(os.environ["MINIO_ROOT_PASSWORD_FILE"]).read_text().strip()
    credentials = configparser.ConfigParser(interpolation=None)
    credentials.read(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    server = credentials["default"]
    # No retries inside the client: wait_until_ready polls, with a bound.
    http = urllib3.PoolManager(retries=False, timeout=5)
    client = Minio(endpoint=endpoint, access_key=root_user, secret_key=root_password, secure=False, http_client=http)
    admin = MinioAdmin(endpoint=endpoint, credentials=StaticProvider(root_user, root_password), secure=False)
    try:
        wait_until_ready(client)
        create_bucket(client, bucket)
        create_identity(admin, bucket, server["aws_access_key_id"], server["aws_secret_access_key"])
    except (urllib3.exceptions.HTTPError, S3Error, MinioAdminException, ValueError) as error:
        sys.exit(f"bucket: error: {endpoint}: {error}")
    print(f"bucket: {bucket} is there; {server['aws_access_key_id']} may create, read and list objects in it")


if __name__ == "__main__":
    main()
