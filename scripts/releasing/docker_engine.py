"""What is asked of Docker: commands that end in time, and the images that this folder's stack needs."""

# macOS's own Python is 3.9.
from __future__ import annotations

import json
import re
import subprocess
from typing import NamedTuple

from releasing.version_facts import Refusal, images, version

# What the images' names begin with in an offline bundle: no registry's, so that none is asked.
BUNDLED = "mlflow-replica"
VERSION_LABEL = '{{index .Config.Labels "org.opencontainers.image.version"}}'


class Image(NamedTuple):
    """An image of the stack: its short name, and the name under which Compose looks for it here."""

    name: str
    local: str


def docker(*args: str, seconds: float = 60) -> str:
    """Returns what a docker command prints; raises Refusal with its last line when it fails or takes longer."""
    try:
        done = subprocess.run(
            ["docker", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refusal(f"docker {args[0]} has not ended after {seconds:g} s") from None
    except FileNotFoundError:
        raise Refusal("there is no docker here: scripts/ensure-engine") from None
    if done.returncode:
        raise Refusal((done.stderr.strip().splitlines() or [f"docker {args[0]} fails"])[-1])
    return done.stdout.strip()


def has(image: str) -> bool:
    """Tells whether an image is here."""
    try:
        docker("image", "inspect", "--format", "{{.Id}}", image)
    except Refusal:
        return False
    return True


def version_of(image: str) -> str:
    """Returns the version that an image is labelled with; raises Refusal where the image is not here."""
    return docker("image", "inspect", "--format", VERSION_LABEL, image)


def bundled(image: Image) -> str:
    """Returns the name that an image has in a bundle of this version, and once that is loaded."""
    return f"{BUNDLED}-{image.name}:{version()}"


def needed_images(*profiles: str) -> list[Image]:
    """Returns the images that `up` starts, the trainer's, and those of further profiles; only what is built here."""
    services: dict[str, dict[str, str]] = json.loads(docker("compose", "--profile", "*", "config", "--format", "json"))[
        "services"
    ]
    started = {*docker("compose", "config", "--services").split(), "trainer"}
    for profile in profiles:
        found = [name for name, one in services.items() if profile in one.get("profiles", ())]
        if not found:
            raise Refusal(f"there is no profile {profile}")
        started.update(found)
    locals_ = {services[name]["image"] for name in started if "build" in services.get(name, ())}
    found_images = []
    for local in sorted(locals_):
        match = re.fullmatch(r".+-(\w+):[\w.-]+", local)
        if not match or match[1] not in images():
            raise Refusal(f"{local} is no image of a release")
        found_images.append(Image(match[1], local))
    return found_images
