"""What is in an image: Debian packages, Python packages, and the Go modules of each program, read from its files."""

from __future__ import annotations

import email.parser
import re
import subprocess
import tarfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from releasing.version_facts import Refusal

# Where Go's linker notes what a program was made of (the format of Go 1.18 and newer), and the flag of that format.
GO_MAGIC, GO_INLINE = b"\xff Go buildinf:", 2
GO_HEADER, GO_SENTINEL = 32, 16
PYTHON = re.compile(r"\.dist-info/METADATA$")
# Packages that are unpacked without being installed are noted in status.d.
DEBIAN = re.compile(r"^var/lib/dpkg/(?:status|status\.d/[^/]+)$")
PROGRAM = re.compile(r"^(?:usr/(?:local/)?)?s?bin/[^/]+$")


class Part(NamedTuple):
    """A package or module: kind (deb, pypi, golang), name and version, and of which program it is part."""

    kind: str
    name: str
    version: str
    within: str = ""


def debian_packages(text: str) -> Iterator[Part]:
    """Yields the installed packages of dpkg's list."""
    for paragraph in text.strip().split("\n\n"):
        fields = email.parser.HeaderParser().parsestr(paragraph)
        if fields.get("Status", "installed").endswith("installed") and fields["Package"]:
            yield Part("deb", fields["Package"], fields["Version"])


def python_package(text: str) -> Part:
    """Returns the package of a METADATA file."""
    fields = email.parser.HeaderParser().parsestr(text)
    return Part("pypi", re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"])


def _text(content: bytes, start: int) -> tuple[bytes, int]:
    """Returns a text with its length in front of it, and where it ends."""
    length = shift = 0
    while True:
        byte = content[start]
        start += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return content[start : start + length], start + length


def go_modules(content: bytes, program: str) -> Iterator[Part]:
    """Yields the modules that a program is made of, and Go's own; nothing where it is no program of Go's."""
    start = content.find(GO_MAGIC)
    # The magic is also among the constants of programs that read it: there, no flag follows.
    while start >= 0 and not (start % 16 == 0 and content[start + len(GO_MAGIC) + 1] & GO_INLINE):
        start = content.find(GO_MAGIC, start + 1)
    if start < 0:
        return
    version, end = _text(content, start + GO_HEADER)
    yield Part("golang", "stdlib", version.decode().removeprefix("go").split()[0], program)
    modules, _ = _text(content, end)
    found: Part | None = None
    for line in modules[GO_SENTINEL:-GO_SENTINEL].decode().splitlines():
        word, *rest = line.split("\t")
        if word in ("mod", "dep", "=>"):
            # A line that begins with => says what stands in the place of the one before.
            if found and word != "=>":
                yield found
            found = Part("golang", rest[0], rest[1], program)
    if found:
        yield found


def parts_of_files(stream: IO[bytes]) -> set[Part]:
    """Returns all that is in a container's files, which come as a tar stream."""
    found: set[Part] = set()
    with tarfile.open(fileobj=stream, mode="r|") as files:
        for member in files:
            path = member.name.removeprefix("./")
            wanted = DEBIAN.search(path) or PYTHON.search(path) or (PROGRAM.search(path) and member.mode & 0o111)
            if not (member.isfile() and wanted and (content := files.extractfile(member))):
                continue
            if DEBIAN.search(path):
                found.update(debian_packages(content.read().decode()))
            elif PYTHON.search(path):
                found.add(python_package(content.read().decode()))
            else:
                found.update(go_modules(content.read(), path.rpartition("/")[2]))
    return found


def parts_of_image(image: str) -> set[Part]:
    """Returns all that is in an image, which is not started; raises Refusal where there is none of that name."""
    created = subprocess.run(["docker", "create", image, "true"], capture_output=True, text=True, check=False)
    if created.returncode:
        raise Refusal((created.stderr.strip().splitlines() or ["docker create fails"])[-1])
    container = created.stdout.strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None  # noqa: S101 - for the types
            found = parts_of_files(export.stdout)
            # What follows the archive's end.
            export.stdout.read()
        if export.returncode:
            raise Refusal(f"docker export of {image} fails")
    except tarfile.TarError as error:
        raise Refusal(f"docker export of {image}: {error}") from None
    finally:
        subprocess.run(["docker", "rm", container], stdout=subprocess.DEVNULL, check=False)
    return found
