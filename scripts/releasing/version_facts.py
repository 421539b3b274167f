"""What is known about these files: their version, what the changelog says of it, and the images that belong to them."""

# macOS's own Python is 3.9.
from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# An image's name in compose.yaml: prefix and tag are settings of the stack.
# Another major version of PostgreSQL is an image of its own, which a clone builds and no release has.
IMAGE = re.compile(
    r"\$\{IMAGE_PREFIX:-mlflow-replica\}-([a-z-]+)(?:\$\{POSTGRES_MAJOR:\+-\$\{POSTGRES_MAJOR:-\}\})?:\$\{IMAGE_TAG:-local\}"
)

# The stack, and its addition for a login at a provider, which has an image of its own.
STACK, SSO = "compose.yaml", "compose.sso.yaml"


class Refusal(Exception):  # noqa: N818 - a refusal is no fault of the program
    """What cannot be done, in one line for a person."""


def version(root: Path = ROOT) -> str:
    """Returns the version of these files: one fact, in the trainer's pyproject.toml."""
    found = re.search(r'^version = "(.+)"$', (root / "services/trainer/pyproject.toml").read_text(), re.MULTILINE)
    if not found:
        raise Refusal("services/trainer/pyproject.toml has no version")
    return found[1]


def images(root: Path = ROOT) -> list[str]:
    """Returns the short names of a release's images: `mlflow`, `trainer` and so on."""
    return sorted({name for file in (STACK, SSO) for name in IMAGE.findall((root / file).read_text())})


def other_versions(root: Path = ROOT) -> list[str]:
    """Returns one line for each compose file whose images would be labelled with another version."""
    wanted, lines = version(root), []
    for path in sorted(root.glob("compose*.yaml")):
        text = path.read_text()
        said = re.findall(r'^x-version: .*"(.+)"$|image\.version: "(.+?)"', text, re.MULTILINE)
        lines += [f"{path.name} has version {''.join(one)}, not {wanted}" for one in said if "".join(one) != wanted]
    return lines


def changelog_section(root: Path = ROOT) -> tuple[str, str]:
    """Returns the changelog's heading of this version, without its marks, and the text below it."""
    wanted = re.escape(version(root))
    text = (root / "CHANGELOG.md").read_text()
    found = re.search(rf"^## ({wanted}(?: [^\n]*)?)$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise Refusal(f"CHANGELOG.md has no section for version {version(root)}")
    return found[1], found[2].strip()


def prefix_of(owner: str) -> str:
    """Returns what the names of an owner's published images begin with."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", owner):
        raise Refusal(f"an owner is the name of a GitHub user or organisation (got: {owner!r})")
    # A registry takes small letters alone.
    return f"ghcr.io/{owner.lower()}/mlflow-replica"
