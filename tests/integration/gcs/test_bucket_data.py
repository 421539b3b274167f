"""The trainer reads its table out of a bucket of Google's, and says in one line where that refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..parted_table import OPTIONS, metrics_of_one_file, parts, stack_with_key
from ..stack import BUCKET, Stack

JUNE = f"gs://{BUCKET}/tables/june"


@pytest.fixture(scope="module")
def held(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The metrics of the one table on disk."""
    return metrics_of_one_file(stack, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reader(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Stack]:
    """Returns the stack as one whose trainer has an account's key; the bucket holds a table in three parts."""
    bucket = stack.gcs("mlflow-admin").bucket(BUCKET)
    for name, content in parts():
        bucket.blob(f"tables/june/{name}").upload_from_string(content)
    folder: Path = tmp_path_factory.mktemp("key")
    folder.chmod(0o755)

    def with_key(account: str) -> Stack:
        return stack_with_key(stack, folder / account, stack.read_volume("gcs-keys", f"{account}.json"))

    return with_key


@pytest.mark.parametrize(
    "address", [(JUNE,), (f"gs://{BUCKET}/tables/*/part-*.parquet",), (JUNE, "--stream", "always")]
)
def test_table_is_read_out_of_the_bucket(
    reader: Callable[[str], Stack], held: dict[str, float], address: tuple[str, ...]
) -> None:
    """An account that may only read it; the metrics are those that the one file on disk gives."""
    assert reader("only-viewer").train("--data", *address, *OPTIONS)["metrics"] == held


@pytest.mark.parametrize(
    ("address", "account", "said"),
    [
        (JUNE, "no-roles", f"{JUNE}: the storage refuses; name credentials"),
        (f"gs://{BUCKET}/none.csv", "only-viewer", f"gs://{BUCKET}/none.csv: no such file or folder (--data)"),
        (f"gs://{BUCKET}/tables/*.csv", "only-viewer", f"gs://{BUCKET}/tables/*.csv: finds no file (--data)"),
    ],
)
def test_refusal_of_a_bucket_is_one_line(reader: Callable[[str], Stack], address: str, account: str, said: str) -> None:
    done = reader(account).run_trainer("--data", address, *OPTIONS)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
