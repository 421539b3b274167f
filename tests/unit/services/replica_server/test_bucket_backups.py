"""services/mlflow: backups in a bucket: laid out as in a folder, each content uploaded once, the manifest last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
from replica_server.backups import bucket_clients, manifest
from replica_server.backups.bucket import BackupBucket
from replica_server.backups.bucket_clients import check_apart, open_store
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import DUMP, OWNER, USERS
from replica_server.backups.restoration import Restoration, check_database, read_users
from replica_server.backups.snapshot import take_snapshot

from .test_backups import LOGINS, STACK, FakeStorage, clock, dumps

__all__ = ["clock", "dumps"]


class MemoryStore:
    """A bucket in memory; it notes what is written and removed, in order."""

    address = "s3://backups/mlflow"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        #: How many writes it still takes.
        self.takes = 10**6

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Lists names."""
        yield from [(name, len(content)) for name, content in sorted(self.objects.items()) if name.startswith(prefix)]

    def read(self, name: str, target: Any) -> bool:
        """Reads an object."""
        if name in self.objects:
            target.write(self.objects[name])
        return name in self.objects

    def write(self, name: str, file: Path, only_new: bool = False) -> bool:
        """Writes an object."""
        if only_new and name in self.objects:
            return False
        if self.takes <= 0:
            raise BackupError("s3://backups/mlflow refuses: the bucket is full")
        self.takes -= 1
        self.asked.append(f"write {name}")
        self.objects[name] = file.read_bytes()
        return True

    def remove(self, name: str) -> None:
        """Removes an object."""
        self.asked.append(f"remove {name}")
        self.objects.pop(name, None)


@pytest.fixture
def store() -> MemoryStore:
    """An empty bucket."""
    return MemoryStore()


def bucket_of(store: MemoryStore, work: Path) -> BackupBucket:
    return BackupBucket(cast("bucket_clients.Store", store), work)


def take_one(store: MemoryStore, work: Path, storage: FakeStorage, stack: str = STACK) -> str:
    """Takes a snapshot and returns its name."""
    return take_snapshot(bucket_of(store, work), cast("Any", storage), stack, "0.1.0", "abc", True).split(":")[0]


def restored(store: MemoryStore, work: Path, name: str) -> FakeStorage:
    """Returns a new storage with a snapshot's artifacts, by a machine that has nothing of the bucket."""
    place, storage = bucket_of(store, work), FakeStorage()
    snapshot = place.snapshot(name, with_dump=True)
    check_database(snapshot, manifest.read_header(snapshot))
    restoration = Restoration(place, snapshot, cast("Any", storage))
    assert list(restoration.missing()) == []
    restoration.put_back(set())
    return storage


def test_manifest_is_written_last(tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage]) -> None:
    name = take_one(store, tmp_path, FakeStorage(a=b"1", b=b"2", c=b"1"))
    digests = [hashlib.sha256(content).hexdigest() for content in (b"1", b"2")]
    contents = {f"objects/{digest[:2]}/{digest}" for digest in digests}
    assert {*store.objects} == {OWNER, f"{name}/{DUMP}", f"{name}/{manifest.NAME}", *contents}
    assert store.asked[0] == f"write {OWNER}"
    assert store.asked[-2:] == [f"write {name}/{DUMP}", f"write {name}/{manifest.NAME}"]
    assert restored(store, tmp_path / "other", name).contents == {"a": b"1", "b": b"2", "c": b"1"}


def test_each_content_is_uploaded_once(
    tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage], clock: None
) -> None:
    """Also from a machine whose own volume is new."""
    storage = FakeStorage(a=b"same", b=b"old")
    take_one(store, tmp_path / "1", storage)
    storage.contents |= {"b": b"new", "c": b"same"}
    store.asked.clear()
    storage.asked.clear()
    take_one(store, tmp_path / "2", storage)
    assert sum("objects/" in one for one in store.asked) == 1
    assert sorted(storage.asked) == ["list", "read b", "read c"]


@pytest.mark.parametrize("writes", range(5))
def test_cut_backup_is_no_snapshot(
    tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage], clock: None, writes: int
) -> None:
    """Ended before each of its five writes: nothing counts as a backup, and the same command finishes it."""
    storage = FakeStorage(a=b"1", b=b"2")
    store.takes = writes
    with pytest.raises(BackupError, match="is full"):
        take_one(store, tmp_path, storage)
    assert bucket_of(store, tmp_path).newest() is None
    store.takes = 10**6
    name = take_one(store, tmp_path, storage)
    assert bucket_of(store, tmp_path).newest() == name
    assert restored(store, tmp_path / "other", name).contents == storage.contents
    assert sum("objects/" in one for one in store.asked) == 2


def test_old_snapshots_are_removed(tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage], clock: None) -> None:
    """With the contents that no other one names, and with what was cut off."""
    names = [take_one(store, tmp_path, FakeStorage(a=b"kept", b=str(number).encode())) for number in range(3)]
    store.objects[f"mlflow-20200101T000000Z/{DUMP}"] = b"cut off"
    assert list(bucket_of(store, tmp_path).prune(2)) == names[:1]
    removed = [one.removeprefix("remove ") for one in store.asked if one.startswith("remove ")]
    gone = hashlib.sha256(b"0").hexdigest()
    assert removed[:2] == [f"{names[0]}/{manifest.NAME}", f"{names[0]}/{DUMP}"]
    assert set(removed[2:]) == {f"mlflow-20200101T000000Z/{DUMP}", f"objects/{gone[:2]}/{gone}"}
    for number in (1, 2):
        contents = restored(store, tmp_path / names[number], names[number]).contents
        assert contents == {"a": b"kept", "b": str(number).encode()}


def test_bucket_of_another_stack_is_refused(tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage]) -> None:
    take_one(store, tmp_path, FakeStorage(a=b"1"))
    before = dict(store.objects)
    with pytest.raises(BackupError, match="holds the backups of another stack"):
        take_one(store, tmp_path, FakeStorage(a=b"2"), stack="another")
    assert store.objects == before


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_damaged_content_is_found(
    tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage], content: bytes | None
) -> None:
    name = take_one(store, tmp_path, FakeStorage(a=b"1"))
    (key,) = [one for one in store.objects if one.startswith("objects/")]
    if content is None:
        del store.objects[key]
    else:
        store.objects[key] = content
    place = bucket_of(store, tmp_path)
    restoration = Restoration(place, place.snapshot(name), cast("Any", FakeStorage()))
    assert [one.name for one in restoration.missing()] == ["a"]


def test_snapshot_that_is_gone_is_one_line(tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage]) -> None:
    """Also where this machine still has a copy of its manifest."""
    name = take_one(store, tmp_path, FakeStorage(a=b"1"))
    del store.objects[f"{name}/{manifest.NAME}"]
    with pytest.raises(BackupError, match="has no manifest: it is no backup"):
        manifest.read_header(bucket_of(store, tmp_path).snapshot(name))
    with pytest.raises(BackupError, match="is no name of a backup"):
        bucket_of(store, tmp_path).snapshot("../etc")


@pytest.mark.parametrize("address", ["s3://", "ftp://bucket/x", "s3://user:word@bucket", "gs://bucket?x=1", "bucket"])
def test_odd_address_is_one_line(address: str) -> None:
    with pytest.raises(BackupError, match=r"is no address of a bucket: s3://BUCKET/FOLDER, or gs://BUCKET/FOLDER$"):
        open_store(address)


@pytest.mark.parametrize(
    ("address", "destination", "apart"),
    [
        ("gs://bucket/backups", "gs://bucket/mlflow/", True),
        ("gs://bucket/mlflow-backups", "gs://bucket/mlflow/", True),
        ("gs://bucket/mlflow/backups", "gs://bucket/mlflow/", False),
        ("gs://bucket", "gs://bucket/mlflow/", False),
        ("s3://mlflow/backups", "s3://mlflow/", False),
        ("s3://backups", "s3://mlflow/", True),
    ],
)
def test_backups_are_not_among_the_artifacts(
    monkeypatch: pytest.MonkeyPatch, address: str, destination: str, apart: bool
) -> None:
    for name in ("MLFLOW_S3_ENDPOINT_URL", "BACKUP_S3_ENDPOINT"):
        monkeypatch.setenv(name, "http://minio:9000")
    with nullcontext() if apart else pytest.raises(BackupError, match="is among the stack's artifacts"):
        check_apart(address, destination)
    # The same name at another server is another bucket.
    monkeypatch.setenv("BACKUP_S3_ENDPOINT", "https://storage.example")
    if address.startswith("s3://"):
        check_apart(address, destination)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "needs a key: BACKUP_KEY_FILE names a file with"),
        (b"", "needs a key: BACKUP_KEY_FILE names a file with"),
        (b"aws_access_key_id = a", "has no section [default] with"),
        (b"[default]\naws_access_key_id = a\n", "has no section [default] with"),
        (b"\xff\xfe", "has no section [default] with"),
    ],
)
def test_odd_key_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    monkeypatch.setattr(bucket_clients, "KEY", key)
    with pytest.raises(BackupError) as raised:
        open_store("s3://backups/mlflow")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_silent_endpoint_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = secret\n")
    monkeypatch.setattr(bucket_clients, "KEY", key)
    monkeypatch.setenv("BACKUP_S3_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BackupError, match=r"s3://backups does not answer: .*127\.0\.0\.1:9") as raised:
        list(open_store("s3://backups").names("objects/"))
    assert "secret" not in str(raised.value)


def test_users_come_and_go_with_the_snapshot(
    tmp_path: Path, store: MemoryStore, dumps: list[FakeStorage], clock: None
) -> None:
    """Written before the manifest, kept nowhere else, read by a machine that has nothing, removed with the snapshot."""
    place = bucket_of(store, tmp_path)
    name = take_snapshot(place, cast("Any", FakeStorage()), STACK, "0.1.0", "abc", True, users=LOGINS).split(":")[0]
    assert store.asked[-3:] == [f"write {name}/{what}" for what in (DUMP, USERS, manifest.NAME)]
    assert not list(tmp_path.rglob(USERS))
    snapshot = bucket_of(store, tmp_path / "other").snapshot(name, with_dump=True)
    assert read_users(snapshot, manifest.read_header(snapshot)) == LOGINS
    take_one(store, tmp_path, FakeStorage())
    assert list(place.prune(1)) == [name]
    assert f"{name}/{USERS}" not in store.objects
