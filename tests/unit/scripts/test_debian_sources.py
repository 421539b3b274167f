"""scripts/debian_sources.py: another release's packages from the mirror that the machine uses."""

from pathlib import Path

import debian_sources

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main contrib
"""


def rewritten(etc_apt: Path) -> list[str]:
    return [line.split("] ")[1] for line in debian_sources.rewritten(etc_apt, "bookworm", "trixie")]


def test_deb822_sources_are_rewritten(tmp_path: Path) -> None:
    """Deb822 sources are rewritten for the other release."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    assert rewritten(tmp_path) == [
        "http://mirror.example/debian trixie main",
        "http://mirror.example/debian trixie-updates main",
        "http://mirror.example/debian-security trixie-security main",
    ]


def test_one_line_sources_are_rewritten(tmp_path: Path) -> None:
    """One line sources are rewritten and named once."""
    (tmp_path / "sources.list").write_text(
        "deb [arch=amd64] https://a.example/debian bookworm main contrib\n"
        "deb https://a.example/debian bookworm main\n"
        "deb-src https://a.example/debian bookworm main\n"
        "# deb https://old.example/debian bookworm main\n"
    )
    assert rewritten(tmp_path) == ["https://a.example/debian trixie main"]


def test_other_vendors_sources_are_left_out(tmp_path: Path) -> None:
    """Other vendors and disabled sources are left out."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/vendor.list").write_text("deb https://vendor.example/apt vendor-bookworm main\n")
    (tmp_path / "sources.list.d/off.sources").write_text("Enabled: no\n" + DEB822)
    assert "vendor.example" not in str(rewritten(tmp_path))
    assert rewritten(tmp_path) == ["http://mirror.example/debian-security trixie-security main"]
