"""Prints this Debian machine's own package sources, rewritten for another release.

The scripts that install Docker's engine and build the base image need packages of a release that the machine may not
run. The mirror that the machine uses serves every release, and may be the only one that it can reach: so no mirror is
written down, they are read off the machine.
"""

import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yields the fields of each stanza of a deb822 file (`debian.sources`), names in lower case."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        fields = dict(re.findall(r"^(\S+):[ \t]*(.*(?:\n[ \t]+.*)*)", "\n".join(lines), re.M))
        if fields:
            yield {name.lower(): " ".join(value.split()) for name, value in fields.items()}


def sources(etc_apt: Path) -> Iterator[tuple[str, str]]:
    """Yields (address, suite) for each source of binary packages that the folder names, in either of apt's formats."""
    for file in sorted(etc_apt.glob("sources.list.d/*.sources")):
        for fields in stanzas(file.read_text()):
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                for address in fields.get("uris", "").split():
                    yield from ((address, suite) for suite in fields.get("suites", "").split())
    for file in [etc_apt / "sources.list", *sorted(etc_apt.glob("sources.list.d/*.list"))]:
        if file.is_file():
            yield from re.findall(r"^deb\s+(?:\[[^]]*\]\s*)?(\S+)\s+(\S+)\s+.*\bmain\b", file.read_text(), re.M)


def rewritten(etc_apt: Path, here: str, wanted: str) -> list[str]:
    """Returns the sources of release `here` as one-line entries for release `wanted`, without repeats."""
    suites = {f"{here}{part}": f"{wanted}{part}" for part in ("", "-updates", "-security")}
    found = {(address, suites[suite]): None for address, suite in sources(etc_apt) if suite in suites}
    return [f"deb [signed-by={KEYRING}] {address} {suite} main" for address, suite in found]


def main() -> None:
    """Prints the entries for the release named on the command line; exits 1 when this machine names no source."""
    here = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    lines = rewritten(Path("/etc/apt"), here, sys.argv[1])
    if not lines:
        sys.exit(f"debian_sources: error: /etc/apt names no package source for {here}: add one")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
