"""Checks that what lies here may be released, and tags it: the program behind scripts/release."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from releasing.version_facts import Refusal, changelog_section, other_versions, version

# Where scripts/test notes the files that have passed it: beside git's own, so that it is never committed.
RECORD = "tested-tree"


def git(root: Path, *args: str) -> str:
    """Returns what a git command says; raises Refusal with its last line when it fails."""
    done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise Refusal(f"git {args[0]}: {said[-1]}")
    return done.stdout.strip()


def check_clean(root: Path) -> str:
    """The release is what git has, and nothing else."""
    changed = git(root, "status", "--porcelain").splitlines()
    if changed:
        raise Refusal(
            f"{len(changed)} files differ from the last commit, {changed[0].split()[-1]} for one: commit them"
        )
    return f"the tree is clean at {git(root, 'rev-parse', '--short', 'HEAD')}"


def check_version(root: Path) -> str:
    """Images, compose files and the package say the same version."""
    wanted = version(root)
    if not re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", wanted):
        raise Refusal(f"version {wanted} is not like 0.1.0 or 0.2.0rc1")
    if lines := other_versions(root):
        raise Refusal("; ".join(lines))
    return f"the version is {wanted} everywhere"


def check_changelog(root: Path) -> str:
    """The changelog has the version, with the day of its release."""
    heading, text = changelog_section(root)
    found = re.fullmatch(r"\S+ - (\d{4}-\d{2}-\d{2})", heading)
    if not found:
        raise Refusal(
            f'CHANGELOG.md: write the day of the release, "## {version(root)} - {date.today()}" (it is "## {heading}")'
        )
    try:
        date.fromisoformat(found[1])
    except ValueError:
        raise Refusal(f"CHANGELOG.md: {found[1]} is no day") from None
    if not text:
        raise Refusal(f"CHANGELOG.md says nothing about version {version(root)}")
    return f"the changelog has it, of {found[1]}"


def check_tests(root: Path) -> str:
    """The whole scripts/test passed on exactly these files."""
    record = root / git(root, "rev-parse", "--git-path", RECORD)
    tested = record.read_text().split() if record.is_file() else []
    if git(root, "rev-parse", "HEAD^{tree}") not in tested:
        raise Refusal("scripts/test has not passed on these files: run it whole, after the last commit")
    return "scripts/test passed on these files"


def check_tag(root: Path) -> str:
    """The version is not released yet."""
    tag = f"v{version(root)}"
    if git(root, "tag", "--list", tag):
        raise Refusal(f"the tag {tag} is there already: a new release has a new version")
    return f"the tag {tag} is free"


CHECKS: tuple[Callable[[Path], str], ...] = (check_clean, check_version, check_changelog, check_tag, check_tests)


def check_all(root: Path) -> bool:
    """Prints one line for each check, all of them, and tells whether each one is content."""
    good = True
    for check in CHECKS:
        try:
            print(f"ok       {check(root)}")
        except Refusal as refusal:
            good = False
            print(f"not yet  {refusal}")
    return good


def make_tag(root: Path) -> None:
    """Tags the last commit, with what the changelog says as the tag's message."""
    heading, text = changelog_section(root)
    # A changelog's headings begin with what git takes for a comment.
    message = ["--cleanup=verbatim", "--message", f"Version {heading}\n\n{text}\n"]
    git(root, "tag", "--annotate", *message, f"v{version(root)}")


def main() -> None:
    """Checks, and with --tag makes the tag; or prints the notes."""
    root = Path.cwd()
    try:
        if "--notes" in sys.argv[1:]:
            print(changelog_section(root)[1])
            return
        if not check_all(root):
            raise Refusal("not released: see above")
        tag = f"v{version(root)}"
        if "--tag" in sys.argv[1:]:
            make_tag(root)
            print(f"tagged {tag}; git push origin {tag} has the images and the release page made")
        else:
            print(f"nothing was done: scripts/release --tag makes the tag {tag}")
    except (Refusal, OSError) as error:
        sys.exit(f"release: error: {error}")


if __name__ == "__main__":
    main()
