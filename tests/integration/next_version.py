"""A clone of these files with a tag of a higher version, for upgrades."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .stack import ROOT
from .test_version import VERSION


def git(folder: Path, *args: str) -> str:
    """Runs git in a folder, as someone."""
    someone = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    return subprocess.run(["git", *someone, *args], cwd=folder, check=True, capture_output=True, text=True).stdout


def make_clone(files: Iterable[Path], folder: Path, version: str) -> None:
    """Makes a clone on the branch `main`, with the tag of a version whose files differ by that alone.

    Args:
        files: The repository's files that it has; those that are not there are left out.
        folder: Where to.
        version: The higher version.
    """
    for file in files:
        if file.is_file():
            target = folder / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "These files")
    git(folder, "checkout", "--quiet", "-b", "next")
    for name in ("compose.yaml", "services/trainer/pyproject.toml"):
        text = (folder / name).read_text()
        changed = re.sub(rf'^(.*version.*)"{re.escape(VERSION)}"$', rf'\1"{version}"', text, flags=re.M)
        assert changed != text
        (folder / name).write_text(changed)
    log = (folder / "CHANGELOG.md").read_text()
    new = f"## {version}\n\n- A change.\n\n## {VERSION}"
    (folder / "CHANGELOG.md").write_text(log.replace(f"## {VERSION}", new, 1))
    git(folder, "commit", "--quiet", "--all", "--message", "The next version")
    git(folder, "tag", f"v{version}")
    git(folder, "checkout", "--quiet", "main")
