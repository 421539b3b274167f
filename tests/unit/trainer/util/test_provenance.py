"""Which code made a run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from trainer.util import provenance


def copy_package(folder: Path) -> Path:
    package = folder / "trainer"
    shutil.copytree(provenance.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_source_digest_changes_with_the_source(tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    assert provenance.digest_of(package) == provenance.source_digest()
    (package / "training" / "fit.py").write_text((package / "training" / "fit.py").read_text() + "\n# changed\n")
    assert provenance.digest_of(package) != provenance.source_digest()


def test_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    assert provenance.git_commit(package) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert provenance.git_commit(package) == head


def test_commit_of_anothers_checkout_is_not_used(tmp_path: Path) -> None:
    """Commit of someone elses checkout is not taken."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["commit", "-qm", "x", "--allow-empty"]):
        subprocess.run([*git, *command], check=True)
    assert provenance.git_commit(copy_package(tmp_path)) is None


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: object) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # type: ignore[attr-defined]
    assert provenance.git_commit() is None
    assert len(provenance.tags()["trainer.source_digest"]) == 64
