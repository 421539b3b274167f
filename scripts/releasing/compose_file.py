"""A release's compose file: the repository's compose.yaml as one file that needs no clone, no build and no other file.

Made from the text, so that the comments stay for those who read it. What would still need the clone is an error.
"""

# macOS's own Python is 3.9.
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from releasing.version_facts import IMAGE, ROOT, SSO, STACK, Refusal, version

STORAGES = ("minio", "gcs")
HEADER = """\
# MLflow replica {version}, artifacts in {where}: made from the repository's compose.yaml. This file is enough.
#   {start}
#   docker compose run --rm trainer sweep                 train and track the standard variants
#   docker compose --profile '*' down                     stop it; all data stays
#   docker compose --profile '*' down --volumes           remove it, its data and its secrets
"""
WHERE = {"minio": "MinIO", "gcs": "Google Cloud Storage"}
START = {
    "minio": "docker compose up --detach --wait                     start it, and open http://localhost:5000",
    "gcs": "GCS_BUCKET=name docker compose up --detach --wait     start it, under the name compose.yaml",
}
# A path of the clone, and what stands for it in an empty folder: a file that is empty, and the folder itself.
PATHS = {"./secrets/.none": "/dev/null", "./secrets": ".", "./data": ".", "./out": "."}
# What would need the clone, or another file.
NEEDS_CLONE = re.compile(
    r"^\s*(?:build|include|x-build-args|env_file|extends):.*|.*:-\./.*|.*IMAGE_TAG.*", re.MULTILINE
)


def replaced(pattern: str, by: str, text: str) -> str:
    """Replaces what there is at least once; raises Refusal where a file has changed so that nothing matches."""
    changed, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    if not count:
        raise Refusal(
            f"the compose file has nothing like {pattern!r}: scripts/releasing/compose_file.py knows another one"
        )
    return changed


def without_sections(text: str) -> str:
    """Returns the text without what is for building alone, and without the comment in front of each."""
    for name in ("include", "x-version", "x-labels", "x-build-args"):
        text = replaced(rf"(?:^#.*\n)*^{name}:.*\n(?:^ .*\n)*\n?", "", text)
    return replaced(r"^    build:.*\n(?:^      .*\n)*", "", text)


def storage_network(storage: str, root: Path) -> str:
    """Returns the lines of the network between server and storage, as the clone's compose.yaml includes them."""
    file = root / "networks" / ("storage.yaml" if storage == "minio" else "storage-cloud.yaml")
    lines = re.findall(r"^  .*$", file.read_text(), re.MULTILINE)
    return "\n".join(lines)


def release_compose(
    prefix: str,
    *,
    storage: str = "minio",
    digests: Mapping[str, str] | None = None,
    pull_policy: str = "missing",
    root: Path = ROOT,
) -> str:
    """Returns the compose file of a release.

    Args:
        prefix: What the images' names begin with, such as `ghcr.io/owner/mlflow-replica`.
        storage: Where the artifacts are: `minio` or `gcs`. It starts without any profile.
        digests: The digest of each image, by its short name; without, the version alone names an image.
        pull_policy: `missing` where a registry has the images, `never` where they are loaded from a file.
        root: The repository.
    """
    text = (root / STACK).read_text()
    head = HEADER.format(version=version(root), where=WHERE[storage], start=START[storage])
    text = replaced(r"\A(?:#.*\n)+", head, text)
    text = without_sections(text)
    text = replaced(
        r"^# Images are built here.*\n^(x-service:.*\n)^  pull_policy: never$", rf"\1  pull_policy: {pull_policy}", text
    )
    text = with_images(text, prefix, digests, root)
    for path, stands_for in PATHS.items():
        text = replaced(rf":-{re.escape(path)}\}}", f":-{stands_for}}}", text)
    # What is started without being named.
    text = replaced(rf"^    profiles: \[{storage}\]\n", "", text)
    network = storage_network(storage, root)
    text = replaced(
        r"^networks:\n", f"networks:\n  # The server and its storage.\n{network}\n".replace("\\", "\\\\"), text
    )
    return checked(text, STACK)


def release_sso(
    prefix: str,
    *,
    digests: Mapping[str, str] | None = None,
    pull_policy: str = "missing",
    root: Path = ROOT,
) -> str:
    """Returns a release's compose file for single sign-on, which is given beside the one of `release_compose`.

    Args:
        prefix: See `release_compose`, as of the others.
        digests: The digest of each image.
        pull_policy: `missing` or `never`.
        root: The repository.
    """
    text = replaced(r"^    build:\n(?:^      .*\n)*", "", (root / SSO).read_text())
    text = replaced(
        r"^    # As in compose.yaml: built.*\n    pull_policy: never$", f"    pull_policy: {pull_policy}", text
    )
    return checked(with_images(text, prefix, digests, root), SSO)


def with_images(text: str, prefix: str, digests: Mapping[str, str] | None, root: Path) -> str:
    """Returns the text with the images' names in a registry; raises Refusal where a digest is missing."""
    found = version(root)

    def image(match: re.Match[str]) -> str:
        name = match[1]
        if digests is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", digests.get(name, "")):
            raise Refusal(f"there is no digest of the image {name}")
        return f"${{IMAGE_PREFIX:-{prefix}}}-{name}:{found}" + (f"@{digests[name]}" if digests else "")

    return IMAGE.sub(image, text)


def checked(text: str, file: str) -> str:
    """Returns the text; raises Refusal where it needs the clone."""
    if left := NEEDS_CLONE.search(text):
        raise Refusal(f"{file} needs a clone: {left[0].strip()}")
    return text
