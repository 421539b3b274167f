"""The folder of tables that the workers of a machine share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from trainer.parallel.cluster import shared_tables
from trainer.parallel.cluster.parcels import digest_of
from trainer.parallel.cluster.shared_tables import SharedTables

PARCELS = {digest_of(content): content for content in (b"one" * 1000, b"two" * 1000, b"six" * 1000)}
ONE, TWO, SIX = PARCELS


class Workers:
    """Two workers with a folder."""

    def __init__(self, folder: Path, room: int = 1 << 20) -> None:
        self.fetched: list[str] = []
        self.first, self.second = SharedTables(folder, room, self.fetch), SharedTables(folder, room, self.fetch)

    def fetch(self, digest: str, memory: Callable[[int], memoryview]) -> memoryview:
        """Do what a worker's channel does, and remember it."""
        self.fetched.append(digest)
        content = memory(len(PARCELS[digest]))
        content[:] = PARCELS[digest]
        return content


def test_one_worker_fetches_for_all(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    assert workers.first.get(ONE) == workers.second.get(ONE) == PARCELS[ONE]
    assert workers.fetched == [ONE]


def test_what_a_worker_writes_is_its_own(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    workers.first.get(ONE)[:3] = b"new"
    assert workers.second.get(ONE) == PARCELS[ONE]
    assert workers.fetched == [ONE]


def test_oldest_table_goes_when_there_is_no_room(tmp_path: Path) -> None:
    """Whoever has it in its memory keeps it."""
    workers = Workers(tmp_path, room=6000)
    one = workers.first.get(ONE)
    workers.first.get(TWO)
    os.utime(tmp_path / ONE, (1, 1))
    workers.second.get(SIX)
    assert {file.name for file in tmp_path.iterdir()} == {TWO, SIX, ".lock"}
    assert one == PARCELS[ONE]


def test_damaged_table_is_fetched_again(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    workers.first.get(ONE)
    (tmp_path / ONE).write_bytes(bytes(3000))
    (tmp_path / TWO).touch()
    assert workers.second.get(ONE) == PARCELS[ONE]
    assert workers.second.get(TWO) == PARCELS[TWO]
    assert workers.fetched == [ONE, ONE, TWO]


def test_fetch_that_fails_leaves_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins anew, in a file of its own."""

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    workers = Workers(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left"):
            workers.first.get(ONE)
    assert not (tmp_path / ONE).exists()
    assert workers.second.get(ONE) == PARCELS[ONE]


def test_digest_is_computed_once_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other workers of a machine take a table that one of them has checked; not one that changed since."""
    computed: list[str] = []

    def counted(content: memoryview) -> str:
        computed.append(digest_of(content))
        return computed[-1]

    monkeypatch.setattr(shared_tables, "digest_of", counted)
    workers = Workers(tmp_path)
    for worker in (workers.first, workers.second, workers.first):
        assert worker.get(ONE) == PARCELS[ONE]
    assert computed == []
    state = shared_tables._state
    monkeypatch.setattr(shared_tables, "_state", lambda file: b"another boot " + state(file))
    assert workers.second.get(ONE) == PARCELS[ONE]
    assert computed == [ONE]
    assert workers.fetched == [ONE]
