"""Two processes see the same files where the system says the same of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trainer.util import file_states
from trainer.util.file_states import FileStates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.csv").write_text("a,b\n1,2\n")
    (tmp_path / "table.csv").write_text("a,b\n")
    return tmp_path


def test_same_files_have_the_same_states(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to any working directory."""
    places = [folder / "parts", folder / "table.csv"]
    states = FileStates.of(places)
    assert states == FileStates.of(places)
    assert states is not None
    assert {Path(path).name for path in states.entries} == {"parts", "one.csv", "table.csv"}
    monkeypatch.chdir(folder)
    assert FileStates.of([Path("parts"), Path("table.csv")]) == states
    assert FileStates.of([]) != states


def test_other_content_has_other_states(folder: Path) -> None:
    """The same length at the same time, in another file; another length; another time; a file more."""
    table = folder / "table.csv"
    before, state = FileStates.of([folder]), table.stat()
    (folder / "new").write_text("c,d\n")
    os.utime(folder / "new", ns=(state.st_atime_ns, state.st_mtime_ns))
    (folder / "new").rename(table)
    assert (moved := FileStates.of([folder])) != before
    os.utime(table, ns=(1, 1))
    assert (touched := FileStates.of([folder])) != moved
    (folder / "parts" / "two.csv").write_text("")
    assert FileStates.of([folder]) != touched


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_file_that_may_not_be_read_is_not_seen(folder: Path) -> None:
    (folder / "table.csv").chmod(0o600)
    places = [folder / "table.csv"]
    assert FileStates.of(places) is not None
    os.seteuid(65534)
    try:
        seen = FileStates.of(places)
    finally:
        os.seteuid(0)
    assert seen is None


def test_size_is_that_of_all_files(folder: Path) -> None:
    states = FileStates.of([folder / "table.csv", folder / "parts" / "one.csv"])
    assert states is not None
    assert states.size == 4 + 8


def test_nothing_is_said_of_what_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pattern neither, nor of a folder of very many files."""
    assert FileStates.of([folder / "no.csv"]) is None
    assert FileStates.of([folder / "*.csv"]) is None
    monkeypatch.setattr(file_states, "_MOST", 2)
    assert FileStates.of([folder]) is None
