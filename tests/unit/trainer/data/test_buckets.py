"""Addresses in buckets: which objects they name, and what a storage's refusal means. The storage is a folder here."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from trainer.data import buckets, demo
from trainer.data.buckets import BucketPath, explained, table_place
from trainer.data.file_errors import readable, reading
from trainer.data.sources import load_data
from trainer.util.errors import InputError

TARGET = demo.TARGET


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bucket that is a folder, with one table in parts and the same one whole."""
    storage = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    monkeypatch.setattr(buckets, "_file_system", lambda _scheme: storage)
    table = demo.generate_sessions(900, seed=2)
    (tmp_path / "tables" / "june" / "days").mkdir(parents=True)
    for number in range(3):
        part = table.iloc[300 * number : 300 * (number + 1)]
        part.to_csv(tmp_path / "tables" / "june" / "days" / f"part-{number}.csv.gz", index=False)
    table.to_csv(tmp_path / "tables" / "whole.csv", index=False)
    table.to_parquet(tmp_path / "tables" / "whole.parquet", index=False)
    return tmp_path / "tables"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize("key", ["whole.csv", "whole.parquet", "june/days", "june/*/part-*.csv.gz", "**/*.csv.gz"])
@pytest.mark.parametrize("stream", ["never", "always"])
def test_table_in_a_bucket_is_that_on_disk(bucket: Path, scheme: str, key: str, stream: str) -> None:
    held = load_data(bucket / "whole.csv", target=TARGET)
    read = load_data(f"{scheme}://tables/{key}", target=TARGET, stream=stream)  # type: ignore[arg-type]
    assert (read.digest, read.test_digest) == (held.digest, held.test_digest)
    assert read.source == f"{scheme}://tables/{key}"
    np.testing.assert_array_equal(read.train.target, held.train.target)


def test_four_files_in_a_bucket(bucket: Path) -> None:
    table = demo.generate_sessions(600, seed=2)
    (bucket / "four").mkdir()
    for name, rows in (("train", table.iloc[:400]), ("test", table.iloc[400:])):
        rows.drop(columns=TARGET).to_csv(bucket / "four" / f"X_{name}.csv", index=False)
        rows[[TARGET]].to_csv(bucket / "four" / f"y_{name}.csv", index=False)
    held, read = load_data(bucket / "four"), load_data("s3://tables/four/")
    assert (read.digest, read.test_digest) == (held.digest, held.test_digest)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://tables/none.csv", "s3://tables/none.csv: no such file or folder (--data)"),
        ("s3://tables/*.tsv", "s3://tables/*.tsv: finds no file (--data)"),
        ("gs://tables", "gs://tables: its 2 tables are of several kinds"),
    ],
)
def test_absent_object_is_one_line(bucket: Path, address: str, said: str) -> None:
    assert bucket.is_dir()
    with pytest.raises(InputError) as refused:
        load_data(address, target=TARGET)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("When listing objects under key 'june' in bucket 'tables': AWS Error ACCESS_DENIED during", "refuses"),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2 operation", "does not know the key"),
        ("AWS Error NO_SUCH_BUCKET during GetObject operation", "there is no such bucket"),
        ("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7", "cannot be reached"),
        ("google::cloud::Status(PERMISSION_DENIED: Permanent error in ReadObject", "refuses"),
    ],
)
def test_refusal_is_explained(error: str, meaning: str) -> None:
    assert meaning in (explained(OSError(error)) or "")
    assert explained(OSError("the disk is broken")) is None


def test_address_is_one_of_a_bucket_by_its_scheme() -> None:
    assert table_place("S3://tables/june/") == BucketPath("s3", "tables/june")
    assert table_place("data/june") == Path("data/june")
    assert str(table_place("gs://tables/a b.csv")) == "gs://tables/a b.csv"


def test_address_travels_to_other_processes(bucket: Path) -> None:
    """What a worker gets of a table that is read in passes reads the same rows there."""
    assert bucket.is_dir()
    dataset = load_data("s3://tables/june/days", target=TARGET, stream="always")
    sent = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    for one, other in zip(dataset.test.parts(), sent.test.parts(), strict=True):
        assert one.equals(other)


class _Object:
    """An object of six bytes in a storage that, as Google's, refuses to read from its end on."""

    def size(self) -> int:
        return 6

    def read_at(self, count: int, place: int) -> bytes:
        if place >= 6:
            raise OSError("google::cloud::Status(OUT_OF_RANGE: InvalidRange)")
        return b"abcdef"[place : place + count]

    def close(self) -> None:
        """Do nothing."""


def test_end_of_an_object_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = SimpleNamespace(open_input_file=lambda _key: _Object())
    monkeypatch.setattr(buckets, "_file_system", lambda _scheme: storage)
    with table_place("gs://tables/x").open("rb") as stream:
        assert stream.read(4) == b"abcd"
        assert stream.read() == b"ef"
        assert stream.read() == b""
        assert stream.seek(-2, 2) == 4
        assert stream.read(10) == b"ef"
        assert (stream.seek(-5, 1), stream.read(1)) == (1, b"b")
        assert (stream.seek(9), stream.read()) == (9, b"")


@pytest.mark.parametrize("told", [reading, readable])
def test_forbidden_object_is_the_storages_refusal(told: Any) -> None:
    """Arrow raises for it what it raises for a file of another user."""
    with (
        pytest.raises(InputError, match="gs://tables/x: the storage refuses; name credentials"),
        told(BucketPath("gs", "tables/x")),
    ):
        raise PermissionError(13, "google::cloud::Status(PERMISSION_DENIED: ...)")
