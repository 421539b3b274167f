"""scripts/release: what keeps a commit from being released is said, all of it; only --tag makes the tag."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
FILES = (
    "services/trainer/pyproject.toml",
    "compose.yaml",
    "compose.gcs-emulator.yaml",
    "scripts/release",
    "scripts/lib.sh",
)


def git(folder: Path, *args: str) -> str:
    """Runs git in a folder, as someone."""
    someone = {
        f"GIT_{who}_{what}": "someone@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = {**os.environ, **someone}
    return subprocess.run(
        ["git", "-C", folder, *args], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path) -> None:
    """Commits all files, and notes them as tested, as scripts/test does."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All")
    (folder / ".git/tested-tree").write_text(git(folder, "rev-parse", "HEAD^{tree}") + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository that may be released as version 1.2.3."""
    shutil.copytree(ROOT / "scripts/releasing", tmp_path / "scripts/releasing", ignore=shutil.ignore_patterns("*.pyc"))
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in FILES[:3]:
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(re.sub(r'^(.*version.*)"\d+\.\d+\.\d+"', r'\1"1.2.3"', text, flags=re.MULTILINE))
    (tmp_path / "CHANGELOG.md").write_text(
        "# Log\n\n## 1.2.3 - 2026-12-01\n\n### Added\n\n- it\n\n## 1.2.2 - 2026-11-01\n\n- old\n"
    )
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def release(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs the folder's script."""
    environment = {**os.environ, "GIT_COMMITTER_NAME": "Someone", "GIT_COMMITTER_EMAIL": "someone@example.com"}
    return subprocess.run(
        [folder / "scripts/release", *args], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_option_nothing_is_tagged(folder: Path) -> None:
    done = release(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 5 + ["nothing"]
    assert done.stdout.endswith("nothing was done: scripts/release --tag makes the tag v1.2.3\n")
    assert git(folder, "tag") == ""


def test_tag_holds_what_the_changelog_says(folder: Path) -> None:
    done = release(folder, "--tag")
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(folder, "rev-parse", "v1.2.3^{commit}") == git(folder, "rev-parse", "HEAD")
    assert git(folder, "cat-file", "-t", "v1.2.3") == "tag"
    message = git(folder, "tag", "--list", "--format=%(contents)", "v1.2.3")
    assert message == "Version 1.2.3 - 2026-12-01\n\n### Added\n\n- it"
    again = release(folder, "--tag")
    assert again.returncode == 1
    assert "not yet  the tag v1.2.3 is there already: a new release has a new version\n" in again.stdout


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        (
            "CHANGELOG.md",
            " - 2026-12-01",
            " (not released yet)",
            'CHANGELOG.md: write the day of the release, "## 1.2.3 - ',
        ),
        ("CHANGELOG.md", "2026-12-01", "2026-13-01", "CHANGELOG.md: 2026-13-01 is no day"),
        ("CHANGELOG.md", "## 1.2.3 ", "## 1.2.30 ", "CHANGELOG.md has no section for version 1.2.3"),
        ("CHANGELOG.md", "### Added\n\n- it\n", "", "CHANGELOG.md says nothing about version 1.2.3"),
        ("compose.yaml", '"1.2.3"', '"1.2.4"', "compose.yaml has version 1.2.4, not 1.2.3"),
        ("compose.gcs-emulator.yaml", '"1.2.3"', '"1.2.4"', "compose.gcs-emulator.yaml has version 1.2.4, not 1.2.3"),
    ],
)
def test_what_is_missing_is_said(folder: Path, name: str, before: str, after: str, message: str) -> None:
    text = (folder / name).read_text()
    assert before in text
    (folder / name).write_text(text.replace(before, after))
    commit(folder)
    done = release(folder, "--tag")
    (line,) = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
    assert line.startswith(f"not yet  {message}")
    assert (done.returncode, done.stderr) == (1, "release: error: not released: see above\n")
    assert git(folder, "tag") == ""


def test_files_that_were_not_tested_are_refused(folder: Path) -> None:
    (folder / "new").write_text("")
    done = release(folder, "--tag")
    assert "not yet  1 files differ from the last commit, new for one: commit them\n" in done.stdout
    git(folder, "add", "new")
    git(folder, "commit", "--quiet", "--message", "Untested")
    done = release(folder, "--tag")
    assert "not yet  scripts/test has not passed on these files: run it whole, after the last commit\n" in done.stdout
    assert git(folder, "tag") == ""


def test_notes_are_the_changelogs(folder: Path) -> None:
    done = release(folder, "--notes")
    assert (done.returncode, done.stdout) == (0, "### Added\n\n- it\n")


def test_elsewhere_it_is_one_line(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    done = release(folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "not yet  git status: fatal: not a git repository" in done.stdout


def test_unknown_option_is_refused(folder: Path) -> None:
    done = release(folder, "--push")
    assert (done.returncode, done.stderr) == (
        1,
        "release: error: unknown option --push (--tag and --notes are known)\n",
    )
