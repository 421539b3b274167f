"""The stack's version is one fact: compose files and changelog agree with it; versions are compared by number."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from replica_server import version as module

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "services/trainer/pyproject.toml").read_text())["project"]["version"]
LABEL = "org.opencontainers.image.version"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gcs-emulator.yaml"])
def test_built_images_carry_the_version(name: str) -> None:
    services = yaml.safe_load((ROOT / name).read_text())["services"]
    labels = {
        service: one["build"].get("labels") for service, one in services.items() if isinstance(one.get("build"), dict)
    }
    assert labels
    assert labels == {service: {LABEL: VERSION} for service in labels}


def test_server_image_is_built_with_the_version() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {services[name]["build"]["args"]["VERSION"] for name in ("mlflow", "migrate", "gc", "backup")} == {VERSION}


def test_changelog_has_the_version() -> None:
    assert re.search(rf"^## {re.escape(VERSION)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


@pytest.mark.parametrize(
    ("recorded", "newer"),
    [("0.1.0", False), ("0.0.9", False), ("", False), ("0.1.1", True), ("0.10.0", True), ("1.0.0", True)],
)
def test_versions_are_compared_by_number(monkeypatch: pytest.MonkeyPatch, recorded: str, newer: bool) -> None:
    monkeypatch.setattr(module, "VERSION", "0.1.0")
    assert module.is_newer(recorded) is newer
