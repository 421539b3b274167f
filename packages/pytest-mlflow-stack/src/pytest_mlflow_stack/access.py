"""What a test gets from the fixture: where the stack's server, bucket and database are, and the keys to them."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from typing import TypedDict
from urllib.parse import quote


class ClientOptions(TypedDict):
    """Arguments of `boto3.client`."""

    endpoint_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    region_name: str


@dataclass(frozen=True)
class Bucket:
    """The bucket that holds the artifacts, and the server's own key to it, which reads, writes and lists.

    Attributes:
        name: The bucket's name.
        endpoint_url: The address of its S3 interface.
        access_key: The key's identifier.
        secret_key: The key's secret.
        region: What S3 clients have to name.
    """

    name: str
    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"

    @property
    def client_options(self) -> ClientOptions:
        """The arguments of `boto3.client("s3", ...)`."""
        return {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": self.region,
        }


@dataclass(frozen=True)
class Database:
    """The backend store, a PostgreSQL, by its owner's name and password.

    Attributes:
        host: The host that it is published at.
        port: Its port there.
        name: The database's name.
        user: The user's name.
        password: The user's password.
    """

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The address that `psycopg.connect` takes; for SQLAlchemy replace `postgresql:` by `postgresql+psycopg:`."""
        return f"postgresql://{quote(self.user, '')}:{quote(self.password, '')}@{self.host}:{self.port}/{self.name}"


@dataclass(frozen=True)
class MlflowStack:
    """A stack that runs: an MLflow server, its bucket and its database.

    Attributes:
        tracking_uri: The server's address, for `mlflow.set_tracking_uri`.
        bucket: The bucket that holds the artifacts.
        database: The backend store.
        project: The name of the Compose project, which all containers, volumes and networks begin with.
    """

    tracking_uri: str
    bucket: Bucket
    database: Database
    project: str


def read_key(credentials: str) -> tuple[str, str]:
    """Returns identifier and secret of the key in a credentials file of the AWS tools."""
    parser = configparser.RawConfigParser()
    parser.read_string(credentials)
    return parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"]
