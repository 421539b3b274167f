"""A worker reads small data in the command's place where it sees the same files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trainer.cli import reading_data
from trainer.cli.reading_data import Request
from trainer.data.demo import generate_sessions
from trainer.parallel.pool import TaskDiedError
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.util.errors import InputError
from trainer.util.file_states import FileStates


def request_for(data: Path, stream: Any = "auto") -> Request:
    given: dict[str, Any] = {"data": data, "target": "purchase", "test_size": 0.2, "seed": 42, "validation_size": 0.2}
    nothing = ("test", "positive", "weight", "time", "group", "task", "folds", "metric")
    empty: dict[str, Any] = {"drop": (), "categorical": (), "monotone": {}, "csv": {}}
    source: Any = SimpleNamespace(**given, **dict.fromkeys(nothing), **empty)
    return Request(source, parse_threshold_rule("0.5"), (), stream, False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    generate_sessions(600).to_csv(tmp_path / "sessions.csv", index=False)
    return tmp_path / "sessions.csv"


def seen(request: Request, states: FileStates) -> Any:
    return reading_data._read_seen((request, states), None)


def test_same_files_are_read(table: Path) -> None:
    request, states = request_for(table), FileStates.of([table])
    assert states is not None
    dataset, config = seen(request, states)
    assert (dataset.train.rows, config.seed) == (480, 42)


def test_small_data_is_read_once(table: Path) -> None:
    """A worker keeps what it read last, until a file or an option is another; other settings are checked anew."""
    request, states = request_for(table), FileStates.of([table])
    assert states is not None
    first, _ = seen(request, states)
    again, config = seen(replace(request, rule=parse_threshold_rule("0.25")), states)
    assert again.train is first.train
    assert config.threshold_rule == parse_threshold_rule("0.25")
    # The same size, and a time of change that says nothing.
    before = table.stat()
    table.write_text(table.read_text().replace("true", "True"))
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = FileStates.of([table])
    assert changed is not None
    other, _ = seen(request, changed)
    assert other.train is not first.train
    assert seen(request, changed)[0].train is other.train


def test_large_tables_are_not_kept(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small their files are; the one that was kept before is gone as well."""
    request, states = request_for(table), FileStates.of([table])
    assert states is not None
    first, _ = seen(request, states)
    monkeypatch.setattr(reading_data, "KEPT", 1000)
    # The other one is read meanwhile.
    assert seen(replace(request, stream="never"), states)[0].train is not first.train
    assert seen(request, states)[0].train is not first.train


def test_other_files_are_left_to_the_command(table: Path) -> None:
    """Another machine's worker sees others, or none; one that would read in passes is no help either."""
    request, states = request_for(table), FileStates.of([table])
    assert states is not None
    assert seen(request, replace(states, boot="another machine")) is None
    assert seen(request_for(table, "always"), states) is None
    table.write_text("purchase,x\n")
    assert seen(request, states) is None
    table.unlink()
    assert seen(request, states) is None


def test_command_reads_where_a_worker_dies(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_arguments: object) -> None:
        raise TaskDiedError("worker one died, 3 times (out of memory, perhaps)")

    monkeypatch.setattr(reading_data, "run_task", die)
    monkeypatch.setattr(Engine, "idle", True)
    engine: Any = Engine()
    dataset, _ = reading_data.read(request_for(table), engine)
    assert dataset.train.rows == 480


class Engine:
    """Counts what it is asked; a worker that answers is the cluster tests' matter."""

    remote = True

    def __init__(self) -> None:
        self.asked = 0

    @property
    def idle(self) -> bool:
        """Say that no worker is."""
        self.asked += 1
        return False


@pytest.mark.parametrize("kind", ["small", "large", "in passes", "pattern", "missing"])
def test_worker_is_asked_for_small_files(table: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    engine: Any = Engine()
    data = {"pattern": table.parent / "sess*.csv", "missing": table.parent / "no.csv"}.get(kind, table)
    if kind == "large":
        monkeypatch.setattr(reading_data, "SMALL", 10)
    if kind == "missing":
        with pytest.raises(InputError, match="no such file"):
            reading_data.read(request_for(data), engine)
    else:
        dataset, _ = reading_data.read(request_for(data, "always" if kind == "in passes" else "auto"), engine)
        assert dataset.train.rows == 480
    assert engine.asked == (kind == "small")
