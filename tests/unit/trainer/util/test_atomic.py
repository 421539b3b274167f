"""Files that are written whole or not at all, where the system has files without a name and where it has not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trainer.util.atomic import atomic_file


@pytest.fixture(params=["unnamed", "named"], autouse=True)
def _kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


def test_finished_file_takes_the_older_ones_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("older")
    with atomic_file(tmp_path / "out", "--out") as stream:
        stream.write(b"newer")
        assert (tmp_path / "out").read_text() == "older"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out": "newer"}


def test_abandoned_file_leaves_the_older_one(tmp_path: Path) -> None:
    """File that is given up leaves the older one and nothing else."""
    (tmp_path / "out").write_text("older")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "out", "--out") as stream:  # noqa: PT012
        stream.write(b"half")
        raise KeyboardInterrupt
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out": "older"}
