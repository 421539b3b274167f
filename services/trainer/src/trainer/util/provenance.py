"""Says whose a run is, and which code made it: its version, a digest of the source, the commit in a git checkout."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trainer.util.user import user_name

PACKAGE = Path(__file__).parent.parent


def package_version() -> str:
    """Return the installed package's version."""
    try:
        return version("trainer")
    except PackageNotFoundError:
        return "0+unknown"


@cache
def source_digest() -> str:
    """Return the digest of this package, which is computed once: 0.02 s each time."""
    return digest_of(PACKAGE)


def digest_of(package: Path) -> str:
    """Return the SHA-256 digest (64 hexadecimal digits) of the names and contents of a package's Python files."""
    state = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        content = file.read_bytes()
        state.update(f"{file.relative_to(package).as_posix()}:{len(content)}:".encode() + content)
    return state.hexdigest()


def git_commit(package: Path = PACKAGE) -> str | None:
    """Return the commit that is checked out, or None where the package is not under git's control."""
    try:
        # Names the file, so that a package installed inside some other checkout does not take on that one's commit.
        tracked = ["git", "-C", str(package), "ls-files", "--error-unmatch", "__init__.py"]
        head = ["git", "-C", str(package), "rev-parse", "HEAD"]
        for command in (tracked, head):
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def tags() -> dict[str, str]:
    """Return the tags that say whose a run is, and which code made it."""
    found = {
        "mlflow.user": user_name(),
        "trainer.version": package_version(),
        "trainer.source_digest": source_digest(),
    }
    if commit := git_commit():
        found["mlflow.source.git.commit"] = commit
    return found
