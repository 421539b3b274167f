"""The files and folders that the contributors' pages name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("CONTRIBUTING.md", "docs/contributors/architecture.md")
# A path in such a page is relative to one of these.
PLACES = (
    ROOT,
    ROOT / "services/trainer/src",
    ROOT / "services/trainer/src/trainer",
    ROOT / "services/mlflow/src/replica_server",
    ROOT / "services/mlflow/src/replica_server",
    ROOT / "services/mlflow/src/replica_server/patches",
    ROOT / "tests/integration",
    ROOT / "tests/unit/services/replica_server/people",
    ROOT / "tests/unit/services/replica_server",
    ROOT / "tests/unit/trainer",
)


def paths(page: str) -> list[str]:
    """Return the paths in a page's code spans: what has a slash or a known suffix, and no placeholder."""
    spans = re.findall(r"`([^`\s]+)`", (ROOT / page).read_text())
    return [
        span
        for span in dict.fromkeys(spans)
        if re.fullmatch(r"[\w./-]+(/|\.(py|md|toml|yaml|go|sh))", span) and "NAME" not in span and ".venv" not in span
    ]


@pytest.mark.parametrize("page", PAGES)
def test_named_paths_exist(page: str) -> None:
    named = paths(page)
    assert len(named) > 10
    assert [path for path in named if not any((place / path).exists() for place in PLACES)] == []
