"""MinIO's patches say what they close, and the page about weaknesses knows each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATCHES = sorted((ROOT / "services" / "minio" / "patches").iterdir())
EXPOSURE = (ROOT / "docs" / "operators" / "exposure.md").read_text()


def test_patches_are_numbered() -> None:
    assert [patch.name[:4] for patch in PATCHES] == [f"{number:04}" for number in range(1, len(PATCHES) + 1)]


@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_patch_says_what_it_closes(patch: Path) -> None:
    opening = patch.read_text().partition("diff --git ")[0]
    weaknesses = re.findall(r"CVE-\d+-\d+", opening)
    assert weaknesses
    assert "licensed as MinIO is: GNU AGPL v3" in opening
    assert [name for name in (*weaknesses, f"patch {patch.name[:4]}") if name not in EXPOSURE] == []
