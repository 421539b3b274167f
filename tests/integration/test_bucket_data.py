"""The trainer reads its table out of the composed MinIO, and says in one line where that refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .parted_table import OPTIONS, metrics_of_one_file, parts, stack_with_key
from .stack import Identity, Stack

pytestmark = pytest.mark.minio

BUCKET = "tables"


@pytest.fixture(scope="module")
def held(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The metrics of the one table on disk."""
    return metrics_of_one_file(stack, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reader(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Identity], Stack]:
    """Returns the stack as one whose trainer has a key for the bucket of tables, which holds one in three parts."""
    s3 = stack.s3(stack.minio_root)
    s3.create_bucket(Bucket=BUCKET)
    for name, content in parts():
        s3.put_object(Bucket=BUCKET, Key=f"june/{name}", Body=content)
    folder = tmp_path_factory.mktemp("key")
    folder.chmod(0o755)

    def with_key(identity: Identity) -> Stack:
        content = f"[default]\naws_access_key_id={identity.access_key}\naws_secret_access_key={identity.secret_key}\n"
        return stack_with_key(stack, folder / identity.secret_key[:4], content)

    return with_key


@pytest.mark.parametrize("address", ["s3://tables/june", "s3://tables/*/part-*.parquet"])
def test_table_is_read_out_of_minio(
    stack: Stack, reader: Callable[[Identity], Stack], held: dict[str, float], address: str
) -> None:
    """Parts in a bucket give the metrics that the one file on disk gives."""
    read = reader(stack.minio_root).train("--data", address, *OPTIONS)
    assert read["metrics"] == held


def test_larger_than_memory_out_of_minio(
    stack: Stack, reader: Callable[[Identity], Stack], held: dict[str, float]
) -> None:
    read = reader(stack.minio_root).train("--data", "s3://tables/june", "--stream", "always", *OPTIONS)
    assert read["metrics"] == held


@pytest.mark.parametrize(
    ("address", "secret", "said"),
    [
        ("s3://tables/june", "guessed-it", "s3://tables/june: the storage refuses; name credentials"),
        ("s3://tables/none.csv", None, "s3://tables/none.csv: no such file or folder (--data)"),
        ("s3://none/june", None, "s3://none/june: no such file or folder (--data)"),
        ("s3://tables/*.csv", None, "s3://tables/*.csv: finds no file (--data)"),
    ],
)
def test_refusal_of_a_bucket_is_one_line(
    stack: Stack, reader: Callable[[Identity], Stack], address: str, secret: str | None, said: str
) -> None:
    root = stack.minio_root
    done = reader(Identity(root.access_key, secret or root.secret_key)).run_trainer("--data", address, *OPTIONS)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_trainer_without_the_file_has_no_way_there(stack: Stack, reader: Callable[[Identity], Stack]) -> None:
    """By default the trainer reaches no storage: only the further Compose file joins its network."""
    del reader
    endpoint = {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_EC2_METADATA_DISABLED": "true"}
    done = stack.run_trainer("--data", "s3://tables/june", *OPTIONS, env=endpoint)
    assert done.returncode == 2
    assert "s3://tables/june: the storage cannot be reached" in done.stderr
