"""services/mlflow: backups/: what a snapshot holds, in which order it is taken, and what becomes of a damaged one."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow.exceptions import MlflowException
from replica_server.artifacts.stored_objects import ChangedError, StoredObject
from replica_server.backups import dump, manifest
from replica_server.backups import folder as folder_module
from replica_server.backups.errors import BackupError
from replica_server.backups.folder import DUMP, USERS, BackupFolder
from replica_server.backups.restoration import Restoration, check_database, read_users
from replica_server.backups.snapshot import take_snapshot

STACK = "0d2b6c8e-0000-4000-8000-000000000001"


class FakeStorage:
    """A storage in memory that notes what is asked of it."""

    artifact_uri = "s3://bucket/"

    def __init__(self, **contents: bytes) -> None:
        self.contents = dict(contents)
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def _note(self, what: str) -> None:
        with self.lock:
            self.asked.append(what)

    def stored(self, name: str) -> StoredObject:
        """Describes a content, as S3 does."""
        content = self.contents[name]
        return StoredObject(name, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())

    def objects(self) -> Iterator[StoredObject]:
        """Lists all."""
        self._note("list")
        yield from [self.stored(name) for name in sorted(self.contents)]

    def describe(self, path: str, tag: str = "") -> StoredObject | None:
        """Describes the present content."""
        found = self.stored(path) if path in self.contents else None
        return found if found and tag in ("", found.tag) else None

    def fetch_stored(self, stored: StoredObject, target: Any) -> None:
        """Reads a content."""
        self._note(f"read {stored.name}")
        if stored.name not in self.contents or self.stored(stored.name) != stored:
            raise ChangedError(stored.name)
        target.write(self.contents[stored.name])

    def write_object(self, source: Any, size: int | None, path: str) -> None:  # noqa: ARG002
        """Writes a content."""
        self._note(f"write {path}")
        self.contents[path] = source.read()


@pytest.fixture
def dumps(monkeypatch: pytest.MonkeyPatch) -> list[FakeStorage]:
    """Writes a database's dump without a database; each storage in the list notes it among what it is asked."""
    storages: list[FakeStorage] = []

    def write(file: Path) -> None:
        for storage in storages:
            storage.asked.append("dump")
        file.write_bytes(b"rows")

    monkeypatch.setattr(dump, "write", write)
    return storages


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each snapshot another second."""
    times = (datetime(2026, 11, 29, 3, 0, second, tzinfo=UTC) for second in range(60))
    monkeypatch.setattr(folder_module, "now", lambda: next(times))


def take_one(folder: Path, storage: FakeStorage, stack: str = STACK, copying: bool = True) -> Path:
    """Takes a snapshot and returns its folder."""
    take_snapshot(BackupFolder(folder), cast("Any", storage), stack, "0.1.0", "abc", copying)
    return BackupFolder(folder).snapshots()[-1]


def restoration(snapshot: Path, storage: FakeStorage) -> Restoration:
    return Restoration(BackupFolder(snapshot.parent), snapshot, cast("Any", storage))


def test_artifacts_are_listed_after_the_dump(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """An artifact that is stored before its row, as clients do, is in a snapshot that has the row."""
    storage = FakeStorage(a=b"1", b=b"2")
    dumps.append(storage)
    take_one(tmp_path, storage)
    assert storage.asked[:2] == ["dump", "list"]
    assert sorted(storage.asked[2:]) == ["read a", "read b"]


def test_second_snapshot_copies_what_is_new(tmp_path: Path, dumps: list[FakeStorage], clock: None) -> None:
    storage = FakeStorage(a=b"same", b=b"old", gone=b"x")
    first = take_one(tmp_path, storage)
    storage.contents |= {"b": b"new", "c": b"same"}
    del storage.contents["gone"]
    storage.asked.clear()
    second = take_one(tmp_path, storage)
    assert sorted(storage.asked) == ["list", "read b", "read c"]
    names = [{one.name: one.digest for one in manifest.read_artifacts(snapshot)} for snapshot in (first, second)]
    assert [set(one) for one in names] == [{"a", "b", "gone"}, {"a", "b", "c"}]
    assert names[1]["a"] == names[1]["c"] == hashlib.sha256(b"same").hexdigest()
    # Each content once.
    assert len(list((tmp_path / "objects").glob("*/*"))) == 4


def test_content_that_is_gone_is_copied_again(tmp_path: Path, dumps: list[FakeStorage], clock: None) -> None:
    storage = FakeStorage(a=b"1", b=b"2")
    first = take_one(tmp_path, storage)
    for artifact in manifest.read_artifacts(first):
        BackupFolder(tmp_path).path_of(artifact.digest).unlink()
    second = take_one(tmp_path, storage)
    assert list(restoration(second, storage).missing()) == []


def test_artifact_that_changes_meanwhile_is_whole(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """One that is replaced between the list and its copy is taken as it is then; one that is gone is left out."""
    storage = FakeStorage(a=b"draft", b=b"b", c=b"c")
    listing = list(storage.objects())
    storage.contents["a"] = b"final"
    del storage.contents["b"]
    storage.objects = lambda: iter(listing)  # type: ignore[method-assign]
    snapshot = take_one(tmp_path, storage)
    found = {one.name: one for one in manifest.read_artifacts(snapshot)}
    assert set(found) == {"a", "c"}
    assert found["a"].digest == hashlib.sha256(b"final").hexdigest()
    assert found["a"].tag == storage.stored("a").tag


def test_failed_snapshot_leaves_none(tmp_path: Path, dumps: list[FakeStorage], clock: None) -> None:
    """Whatever ends a snapshot half-way leaves none of its name; the next one goes on with what was copied."""
    storage = FakeStorage(a=b"1", b=b"2")

    def refuse(stored: StoredObject, target: Any) -> None:
        raise OSError(28, "No space left on device")

    first = storage.fetch_stored
    storage.fetch_stored = refuse  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        take_one(tmp_path, storage)
    assert BackupFolder(tmp_path).snapshots() == []
    storage.fetch_stored = first  # type: ignore[method-assign]
    snapshot = take_one(tmp_path, storage)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([snapshot.name, "objects", "stack.json"])


def copied_until(storage: FakeStorage, limit: int, error: BaseException) -> None:
    """Makes a storage fail once so many contents have been read."""
    read = storage.fetch_stored

    def fetch(stored: StoredObject, target: Any) -> None:
        if sum(one.startswith("read ") for one in storage.asked) >= limit:
            raise error
        read(stored, target)

    storage.fetch_stored = fetch  # type: ignore[method-assign]


def test_next_one_goes_on_with_what_was_copied(
    tmp_path: Path, dumps: list[FakeStorage], clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of all, ended half-way twice: each goes on where the former was, and reads what it finds."""
    monkeypatch.setattr(manifest, "LINES", 5)
    monkeypatch.setattr("replica_server.backups.snapshot.PAGE", 5)
    contents = {f"{number:03}": f"content {number}".encode() for number in range(60)}
    for limit in (20, 10):
        storage = FakeStorage(**contents)
        copied_until(storage, limit, BackupError("killed"))
        with pytest.raises(BackupError, match="killed"):
            take_one(tmp_path, storage)
        assert BackupFolder(tmp_path).snapshots() == []
        # Of what is not whole, only the manifests stay.
        assert {path.name for path in tmp_path.glob(".new-*/*")} == {manifest.NAME}
    damaged = BackupFolder(tmp_path).path_of(hashlib.sha256(contents["003"]).hexdigest())
    damaged.write_bytes(b"\0" * len(contents["003"]))
    storage = FakeStorage(**contents)
    snapshot = take_one(tmp_path, storage)
    read = {one for one in storage.asked if one.startswith("read ")}
    assert "read 003" in read
    assert 30 <= len(read) <= 45
    assert {one.name for one in manifest.read_artifacts(snapshot)} == set(contents)
    assert list(restoration(snapshot, storage).missing()) == []
    assert not list(tmp_path.glob(".new-*"))


def test_failed_reads_leave_nothing_in_it(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """A content that came in the second attempt only leaves no first half in the snapshot."""
    storage = FakeStorage(a=b"whole", b=b"other")
    read = storage.fetch_stored

    def break_off(stored: StoredObject, target: Any) -> None:
        if storage.asked.count(f"read {stored.name}") == 0:
            storage.asked.append(f"read {stored.name}")
            target.write(b"half")
            raise MlflowException("the storage broke off")
        read(stored, target)

    storage.fetch_stored = break_off  # type: ignore[method-assign]
    snapshot = take_one(tmp_path, storage)
    assert {path.name for path in snapshot.iterdir()} == {manifest.NAME, DUMP}
    assert list(restoration(snapshot, storage).missing()) == []


def test_disk_is_not_filled(tmp_path: Path, dumps: list[FakeStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    """The database may be on the same disk: a backup leaves some room, and what it cannot use itself."""
    free = folder_module.RESERVE + 10

    def usage(_: Path) -> Any:
        return SimpleNamespace(total=100 * folder_module.RESERVE, free=free)

    monkeypatch.setattr("shutil.disk_usage", usage)
    take_one(tmp_path, FakeStorage(a=b"0123456789"))
    with pytest.raises(BackupError, match=r"bytes free, of which some stay so: No space left on device"):
        take_one(tmp_path, FakeStorage(b=b"0123456789a"))
    assert len(BackupFolder(tmp_path).snapshots()) == 1
    assert not list(tmp_path.glob(".new-*/*"))
    free = folder_module.RESERVE - 1
    monkeypatch.setattr(dump, "write", lambda _: pytest.fail("it was dumped"))
    with pytest.raises(BackupError, match="No space left on device"):
        take_one(tmp_path, FakeStorage())


def test_damaged_contents_are_copied_again(
    tmp_path: Path, dumps: list[FakeStorage], clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each content that is here is read again one day in sixteen, and copied again when the disk has lost it."""
    storage = FakeStorage(a=b"1", b=b"2")
    first = take_one(tmp_path, storage)
    for artifact in manifest.read_artifacts(first):
        BackupFolder(tmp_path).path_of(artifact.digest).write_bytes(b"X")
    days = iter(range(16))
    monkeypatch.setattr("replica_server.backups.snapshot.today", lambda: next(days))
    for _ in range(16):
        last = take_one(tmp_path, storage)
    assert list(restoration(last, storage).missing()) == []


@pytest.mark.parametrize("done", range(7))
def test_ended_restoration_is_finished(tmp_path: Path, dumps: list[FakeStorage], done: int) -> None:
    """Ended at each write, before it or after: the same call puts back the rest, and nothing a second time."""
    contents = {f"{number}": f"content {number}".encode() for number in range(6)}
    snapshot = take_one(tmp_path, FakeStorage(**contents))
    storage = FakeStorage(**{"0": b"another", "kept": b"x"})
    # Several threads write.
    write, numbers, written = storage.write_object, itertools.count(), itertools.count()

    def end(source: Any, size: int | None, path: str) -> None:
        if next(numbers) >= done:
            raise KeyboardInterrupt
        write(source, size, path)
        next(written)

    storage.write_object = end  # type: ignore[method-assign]
    with nullcontext() if done == len(contents) else pytest.raises(KeyboardInterrupt):
        restoration(snapshot, storage).put_back(set())
    storage.write_object = write  # type: ignore[method-assign]
    before = {name for name, content in contents.items() if storage.contents.get(name) == content}
    assert len(before) == next(written) == done
    again = restoration(snapshot, storage).put_back(set())
    assert (again.same, again.written) == (done, len(contents) - done)
    assert storage.contents == {**contents, "kept": b"x"}
    assert list(restoration(snapshot, storage).differences()) == []


def test_lost_turn_is_no_snapshot(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """Where garbage collection may have run meanwhile, nothing gets a snapshot's name."""

    def check() -> None:
        raise BackupError("lost")

    with pytest.raises(BackupError, match="lost"):
        take_snapshot(BackupFolder(tmp_path), cast("Any", FakeStorage(a=b"1")), STACK, "0.1.0", "abc", True, check)
    assert BackupFolder(tmp_path).snapshots() == []


def test_pruning_keeps_what_is_named(tmp_path: Path, dumps: list[FakeStorage], clock: None) -> None:
    """The oldest go, files of former versions too; a content goes when no backup that is left names it."""
    others = ["mlflow-before-upgrade.dump", "notes.txt"]
    for name in ("mlflow-20260101T030000Z.dump", *others):
        (tmp_path / name).write_text("")
    storage = FakeStorage(a=b"always", b=b"first")
    for text in (b"second", b"third"):
        take_one(tmp_path, storage)
        storage.contents["b"] = text
    last = take_one(tmp_path, storage)
    folder = BackupFolder(tmp_path)
    assert list(folder.prune(2)) == ["mlflow-20260101T030000Z.dump", "mlflow-20261129T030000Z"]
    assert {file.read_bytes() for file in folder.objects.glob("*/*")} == {b"always", b"second", b"third"}
    assert list(folder.prune(1)) == ["mlflow-20261129T030001Z"]
    contents = {file.read_bytes() for file in folder.objects.glob("*/*")}
    assert contents == {b"always", b"third"}
    assert {path.name for path in tmp_path.iterdir()} == {last.name, "objects", "stack.json", *others}
    assert list(folder.prune(1)) == []


def test_another_stacks_folder_is_refused(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    take_one(tmp_path, FakeStorage(a=b"1"))
    with pytest.raises(BackupError, match="holds the backups of another stack"):
        take_one(tmp_path, FakeStorage(a=b"1"), stack="another")


@pytest.mark.parametrize("damage", ["cut", "no end", "no gzip", "no manifest", "other format"])
def test_damaged_manifest_is_refused(tmp_path: Path, dumps: list[FakeStorage], damage: str) -> None:
    snapshot = take_one(tmp_path, FakeStorage(**{f"a{number}": b"x" * number for number in range(50)}))
    file = snapshot / manifest.NAME
    content = file.read_bytes()
    text = gzip.decompress(content)
    if damage == "no manifest":
        file.unlink()
    else:
        file.write_bytes(
            {
                "cut": content[:-40],
                "no end": gzip.compress(b"\n".join(text.splitlines()[:-1])),
                "no gzip": b"{}",
                "other format": gzip.compress(text.replace(b'"format": 1', b'"format": 2')),
            }[damage]
        )

    def read() -> None:
        manifest.read_header(snapshot)
        list(manifest.read_artifacts(snapshot))

    with pytest.raises(BackupError, match=r"damaged or cut off|is no backup|another version"):
        read()


def test_list_out_of_order_loses_nothing(tmp_path: Path, dumps: list[FakeStorage], clock: None) -> None:
    """A storage that does not sort its list costs reads, and no artifact."""
    storage = FakeStorage(a=b"1", b=b"2", c=b"3")
    storage.objects = lambda: iter([storage.stored(name) for name in ("c", "a", "b")])  # type: ignore[method-assign]
    for _ in range(2):
        snapshot = take_one(tmp_path, storage)
        assert {one.name for one in manifest.read_artifacts(snapshot)} == {"a", "b", "c"}
    assert list(restoration(snapshot, storage).differences()) == []
    del storage.contents["c"]
    storage.objects = lambda: iter([storage.stored(name) for name in ("b", "a")])  # type: ignore[method-assign]
    assert [one.name for one in restoration(snapshot, storage).differences()] == ["c"]
    assert restoration(snapshot, storage).put_back(set()).kept == []
    assert storage.contents == {"a": b"1", "b": b"2", "c": b"3"}


def test_artifacts_are_put_back(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """What is there stays as it is; what is not, or has another content, is written."""
    snapshot = take_one(tmp_path, FakeStorage(a=b"1", b=b"2", c=b"3"))
    there = FakeStorage(a=b"1", b=b"other", later=b"x")
    done = restoration(snapshot, there).put_back(set())
    assert (done.same, done.written, done.kept) == (1, 2, [])
    assert there.contents == {"a": b"1", "b": b"2", "c": b"3", "later": b"x"}
    assert list(restoration(snapshot, there).differences()) == []


def test_damaged_contents_are_named(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    snapshot = take_one(tmp_path, FakeStorage(a=b"1", b=b"2", c=b"3"))
    folder = BackupFolder(tmp_path)
    digests = {one.name: one.digest for one in manifest.read_artifacts(snapshot)}
    folder.path_of(digests["a"]).write_bytes(b"X")
    folder.path_of(digests["b"]).unlink()
    there = FakeStorage()
    assert [one.name for one in restoration(snapshot, there).missing()] == ["a", "b"]
    restoration(snapshot, there).put_back({"a", "b"})
    assert there.contents == {"c": b"3"}
    assert [one.name for one in restoration(snapshot, there).differences()] == ["a", "b"]


def test_damaged_database_is_refused(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    snapshot = take_one(tmp_path, FakeStorage())
    header = manifest.read_header(snapshot)
    check_database(snapshot, header)
    (snapshot / DUMP).write_bytes(b"row")
    with pytest.raises(BackupError, match=r"the database in .* is missing or damaged: nothing was changed"):
        check_database(snapshot, header)


def test_listed_artifacts_are_looked_for(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """Where contents stay in the bucket, the snapshot names them, and what the bucket no longer has is missing."""
    storage = FakeStorage(a=b"1", b=b"2")
    snapshot = take_one(tmp_path, storage, copying=False)
    assert not (tmp_path / "objects").exists()
    assert list(restoration(snapshot, storage).missing()) == []
    storage.contents["b"] = b"other"
    assert [one.name for one in restoration(snapshot, storage).missing()] == ["b"]
    assert [one.name for one in restoration(snapshot, storage).differences()] == ["b"]


LOGINS = b"# names, and bcrypt hashes of passwords\nalice $2b$10$abc\n# whole\n"


def test_users_are_for_the_owner_only(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """The proxy's users are in the snapshot as they came."""
    take_snapshot(BackupFolder(tmp_path), cast("Any", FakeStorage()), STACK, "0.1.0", "abc", True, users=LOGINS)
    (snapshot,) = BackupFolder(tmp_path).snapshots()
    assert read_users(snapshot, manifest.read_header(snapshot)) == LOGINS
    assert (snapshot / USERS).stat().st_mode & 0o777 == 0o600


def test_snapshot_without_users_has_none(tmp_path: Path, dumps: list[FakeStorage]) -> None:
    """Of a stack without the proxy, and one that was taken before users were in it."""
    snapshot = take_one(tmp_path, FakeStorage())
    assert not (snapshot / USERS).exists()
    assert read_users(snapshot, manifest.read_header(snapshot)) == b""
    file = snapshot / manifest.NAME
    first, *others = gzip.decompress(file.read_bytes()).decode().splitlines()
    header = json.loads(first)
    assert header.pop("users") == ""
    file.write_bytes(gzip.compress("\n".join([json.dumps(header), *others, ""]).encode()))
    assert read_users(snapshot, manifest.read_header(snapshot)) == b""


@pytest.mark.parametrize("content", [None, b"", LOGINS[:-1]], ids=["missing", "empty", "cut off"])
def test_damaged_users_are_found(tmp_path: Path, dumps: list[FakeStorage], content: bytes | None) -> None:
    take_snapshot(BackupFolder(tmp_path), cast("Any", FakeStorage()), STACK, "0.1.0", "abc", True, users=LOGINS)
    (snapshot,) = BackupFolder(tmp_path).snapshots()
    (snapshot / USERS).unlink()
    if content is not None:
        (snapshot / USERS).write_bytes(content)
    with pytest.raises(BackupError, match=r"the proxy's users in mlflow-.* are missing or damaged"):
        read_users(snapshot, manifest.read_header(snapshot))
