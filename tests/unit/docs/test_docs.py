"""The documentation says what is so: settings, links out of the README, names of tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import trainer

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
# Compose's own; every other variable in the table is one that a compose file reads.
OF_COMPOSE = {"COMPOSE_PROJECT_NAME"}


def settings_of_compose_files() -> set[str]:
    return {name for file in ROOT.glob("compose*.yaml") for name in re.findall(r"\$\{(\w+)", file.read_text())}


def first_cells(page: Path) -> list[str]:
    """Returns the first cell of each row of each table on a page."""
    return [line.split("|")[1] for line in page.read_text().splitlines() if line.startswith("|")]


def test_configuration_lists_every_setting() -> None:
    cells = first_cells(DOCS / "operators" / "configuration.md")
    listed = {name for cell in cells for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cell)}
    assert listed - OF_COMPOSE == settings_of_compose_files() - OF_COMPOSE - {"COMPOSE_PROFILES"}


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_page_is_short(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 150


@pytest.mark.parametrize(
    "file", [README, ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"], ids=lambda file: file.name
)
def test_links_lead_somewhere(file: Path) -> None:
    """`scripts/docs` looks at the links inside docs/; these files are outside of it."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_named_tests_exist() -> None:
    """A page that names a test as proof (`test_…`) names one that is there; `…` at its end stands for the rest."""
    text = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)", text)) | {file.name for file in (ROOT / "tests").rglob("test_*.py")}
    named = {name for page in DOCS.rglob("*.md") for name in re.findall(r"\b(test_\w+(?:\.py)?…?)", page.read_text())}
    missing = {
        name
        for name in named
        if not (any(test.startswith(name[:-1]) for test in defined) if name.endswith("…") else name in defined)
    }
    assert missing == set()


def test_each_exposure_has_its_test() -> None:
    """A row of the table of weaknesses names its test, or says that nothing is done."""
    page = (DOCS / "operators" / "exposure.md").read_text()
    rows = [
        line.strip("|").split("|") for line in page.splitlines() if line.startswith("|") and not line.startswith("|-")
    ]
    rows = [row for row in rows if row[0].strip() != "what"]
    assert len(rows) > 10
    assert [
        row[0] for row in rows if len(row) != 4 or not (re.search(r"test_\w+", row[3]) or "nothing" in row[2])
    ] == []


def test_changelog_has_the_version() -> None:
    """The version is one fact in one file; the changelog's newest heading is about it."""
    version = tomllib.loads((ROOT / "services/trainer/pyproject.toml").read_text())["project"]["version"]
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == version


def test_test_names_are_short() -> None:
    """A name is typed after `-k`; what it does not say is in the docstring."""
    text = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"def test_(\w+)", text) if len(name) > 45] == []


def test_index_lists_every_page() -> None:
    """Each page of the site's navigation has a link on its first page."""
    pages = set(re.findall(r'= "([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text())) - {"index.md"}
    assert pages == set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "index.md").read_text()))


def test_interface_page_has_every_name() -> None:
    """Each public name of the package has an entry, which its docstring makes."""
    page = (DOCS / "data-scientists" / "python-interface.md").read_text()
    assert sorted(re.findall(r"^::: trainer\.(\w+)$", page, re.MULTILINE)) == sorted(trainer.__all__)
