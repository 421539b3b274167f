"""Builds a release's images for all platforms and publishes them: the program behind scripts/release-images."""

# macOS's own Python is 3.9.
from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from releasing.docker_engine import docker
from releasing.release_files import read_digests
from releasing.version_facts import ROOT, Refusal, images, prefix_of, version


def bake(owner: str, source: str, *args: str) -> int:
    """Runs `docker buildx bake` on the repository's bake file; returns its exit code."""
    settings = {"IMAGES": prefix_of(owner), "VERSION": version(), "SOURCE": source}
    command = ["docker", "buildx", "bake", "--file", "docker-bake.hcl", *args]
    try:
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=False).returncode
    except FileNotFoundError:
        raise Refusal("there is no docker here: scripts/ensure-engine") from None


def published(owner: str, digests: dict[str, str]) -> list[str]:
    """Returns each image's name with its digest, which is what gets scanned and signed."""
    if missing := sorted(set(images()) - set(digests)):
        raise Refusal(f"there is no digest of the image {missing[0]}")
    return [f"{prefix_of(owner)}-{name}@{digests[name]}" for name in images()]


def imagetools(*args: str) -> str:
    """Returns what `docker buildx imagetools` says; raises Refusal with its last line when it fails."""
    return docker("buildx", "imagetools", *args, seconds=300)


def publish(owner: str, digests: dict[str, str]) -> None:
    """Gives each image the version's tag; raises Refusal where a tag then leads to something else."""
    for image in published(owner, digests):
        name, _, digest = image.partition("@")
        tagged = f"{name}:{version()}"
        # Of one source it makes a copy, signatures and all that belong to its digest included.
        imagetools("create", "--tag", tagged, image)
        found = imagetools("inspect", "--format", "{{.Manifest.Digest}}", tagged)
        if found != digest:
            raise Refusal(f"{tagged} is {found}, not {digest}")
        print(f"{tagged}@{digest}")


def main() -> None:
    """Prints what would be built, or builds and pushes it, or lists what was pushed, or gives it its tag."""
    parser = argparse.ArgumentParser(prog="release-images", add_help=False)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--tag")
    parser.add_argument("--source", default="")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--push", type=Path)
    action.add_argument("--list", type=Path)
    action.add_argument("--publish", type=Path)
    options = parser.parse_args()
    try:
        if options.tag and options.tag != f"v{version()}":
            raise Refusal(f"the tag {options.tag} is on files of version {version()}")
        if options.list:
            print("\n".join(published(options.owner, read_digests(options.list))))
        elif options.publish:
            publish(options.owner, read_digests(options.publish))
        elif options.push:
            file = str(options.push.absolute())
            sys.exit(bake(options.owner, options.source, "--push", "--metadata-file", file))
        else:
            sys.exit(bake(options.owner, options.source, "--print"))
    except (Refusal, OSError) as error:
        sys.exit(f"release-images: error: {error}")


if __name__ == "__main__":
    main()
