"""scripts/restore: what is no backup is said in one line, before anything is asked or changed."""

import subprocess
from pathlib import Path

import pytest

RESTORE = Path(__file__).parents[3] / "scripts" / "restore"


@pytest.mark.parametrize("arguments", [(), ("",), ("no-such-file",)])
def test_missing_backup_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([RESTORE, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == "restore: error: name the folder or file that scripts/backup wrote\n"
