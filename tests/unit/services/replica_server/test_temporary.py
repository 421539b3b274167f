"""services/mlflow: temporary.py: each server has a folder of its own, and clears up after those that are gone."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from replica_server.artifacts import temporary

HOLD = "from replica_server.artifacts import temporary; temporary.prepare(); print('ready', flush=True); input()"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_of_a_gone_server_is_removed(place: Path) -> None:
    """Folder of a server that is gone is removed and one in use stays."""
    abandoned = place / f"{temporary.PREFIX}gone"
    abandoned.mkdir()
    (abandoned / "half").write_text("half")
    environment = {"TMPDIR": str(place), "PYTHONPATH": str(Path(temporary.__file__).parents[2])}
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    assert other.stdin
    assert other.stdout
    assert other.stdout.readline() == "ready\n"
    (held,) = place.iterdir()
    own = temporary.prepare()
    assert set(place.iterdir()) == {held, own}
    assert Path(tempfile.mkdtemp()).parent == own
    other.communicate("\n")
