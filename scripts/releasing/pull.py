"""Brings the published images of these files' version here; says why not where they have to be built. For scripts/up.

Exit code 0: all are here, under the names that Compose looks for. 3: they have to be built.
"""

# macOS's own Python is 3.9.
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from releasing.docker_engine import Image, bundled, docker, has, needed_images, version_of
from releasing.version_facts import ROOT, Refusal, prefix_of, version

MUST_BUILD = 3
# Seconds: until a registry has answered whether it has the version, and for one image.
ANSWER, PULL = 20, 1800


def _git(root: Path, *args: str) -> str:
    """Returns what git says; nothing where it fails."""
    done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def registry(root: Path = ROOT) -> str:
    """Returns what the published images' names begin with: IMAGES_FROM, or that of the clone's origin on GitHub."""
    if prefix := os.environ.get("IMAGES_FROM"):
        return prefix
    origin = _git(root, "remote", "get-url", "origin")
    found = re.search(r"github\.com[/:]([\w-]+)/[^/]+$", origin)
    if not found:
        raise Refusal("no registry is known (IMAGES_FROM, or a clone from GitHub)")
    return prefix_of(found[1])


def check_files(root: Path = ROOT) -> None:
    """Raises Refusal unless these files are those of the version's tag; without git, the version alone counts."""
    if not _git(root, "rev-parse", "HEAD"):
        return
    tag = f"v{version(root)}"
    if tag not in _git(root, "tag", "--points-at", "HEAD").split():
        raise Refusal(f"the files are not those of the tag {tag}")
    if _git(root, "status", "--porcelain", "--untracked-files=no"):
        raise Refusal(f"files differ from the tag {tag}")


def loaded(wanted: list[Image]) -> bool:
    """Tells whether the images are those of this version that a bundle has brought."""

    def id_of(name: str) -> str:
        return docker("image", "inspect", "--format", "{{.Id}}", name)

    return all(has(bundled(one)) and has(one.local) and id_of(bundled(one)) == id_of(one.local) for one in wanted)


def pull(wanted: list[Image], prefix: str) -> None:
    """Pulls what is missing, and gives all of it the names that Compose looks for; raises Refusal where one fails."""
    published = {one.local: f"{prefix}-{one.name}:{version()}" for one in wanted}
    missing = [name for name in published.values() if not has(name)]
    if missing:
        docker("manifest", "inspect", missing[0], seconds=ANSWER)
        print(f"==> pulling version {version()} from {prefix.rpartition('/')[0]}", file=sys.stderr)
    for name in missing:
        docker("pull", "--quiet", name, seconds=PULL)
    for name in published.values():
        if version_of(name) != version():
            raise Refusal(f"{name} is labelled with version {version_of(name)}")
    # None before all are there: a stack of two versions would be the alternative.
    for local, name in published.items():
        docker("tag", name, local)


def main() -> None:
    """Brings the images here, or says why they have to be built."""
    try:
        wanted = needed_images()
        if loaded(wanted):
            print(f"==> the images are those of the bundle of version {version()} that was loaded", file=sys.stderr)
            return
        check_files()
        prefix = registry()
        pull(wanted, prefix)
        print(f"==> the images are those that {prefix}-… has of version {version()}", file=sys.stderr)
    except Refusal as refusal:
        print(f"==> building the images, not pulling them: {refusal}", file=sys.stderr)
        sys.exit(MUST_BUILD)


if __name__ == "__main__":
    main()
