"""What is found in an image's files, and the bill that is written of it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from releasing.image_contents import Part, parts_of_files
from releasing.sbom import bill

ROOT = Path(__file__).parents[3]
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12
Description: GNU C Library
 Package: not-a-package

Package: removed
Status: deinstall ok config-files
Version: 1
"""
METADATA = "Metadata-Version: 2.4\nName: Some_Package\nVersion: 1.2\n\nName: not-a-package\n"
MODULES = "path\texample.org/tool\nmod\texample.org/tool\t(devel)\t\ndep\texample.org/a\tv1.0.0\th1:x=\n"
MODULES += "dep\texample.org/b\tv2.0.0\n=>\texample.org/fork\tv2.0.1\th1:y=\nbuild\tCGO_ENABLED=0\n"


def go_program(flags: int = 2) -> bytes:
    """Returns a file with what Go's linker notes, at one of the places that it may choose."""
    texts = [b"go1.27.3", b"s" * 16 + MODULES.encode() + b"e" * 16]
    noted = b"".join(bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text for text in texts)
    return b"\x7fELF".ljust(64, b"\0") + b"\xff Go buildinf:" + bytes([8, flags]) + bytes(16) + noted + b"rest"


def files(**contents: tuple[str, bytes, int]) -> io.BytesIO:
    """Returns a container's files as `docker export` gives them: path, content and mode of each."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content, mode in contents.values():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    stream.seek(0)
    return stream


def test_packages_and_modules_are_found() -> None:
    found = parts_of_files(
        files(
            debian=("var/lib/dpkg/status", STATUS.encode(), 0o644),
            unpacked=("var/lib/dpkg/status.d/postgresql-17", b"Package: postgresql-17\nVersion: 17.7-1\n", 0o644),
            python=(
                "opt/venv/lib/python3.13/site-packages/some_package-1.2.dist-info/METADATA",
                METADATA.encode(),
                0o644,
            ),
            go=("usr/local/bin/tool", go_program(), 0o755),
            data=("usr/share/tool/copy", go_program(), 0o644),
            older=("usr/bin/older", go_program(flags=0), 0o755),
            other=("usr/bin/other", b"#!/bin/sh\n", 0o755),
        )
    )
    assert found == {
        Part("deb", "libc6", "2.41-12"),
        Part("deb", "postgresql-17", "17.7-1"),
        Part("pypi", "some-package", "1.2"),
        Part("golang", "stdlib", "1.27.3", "tool"),
        Part("golang", "example.org/tool", "(devel)", "tool"),
        Part("golang", "example.org/a", "v1.0.0", "tool"),
        Part("golang", "example.org/fork", "v2.0.1", "tool"),
    }


@pytest.mark.slow
def test_bill_names_each_part_by_its_address() -> None:
    parts = {
        Part("deb", "libc6", "2.41-12"),
        Part("pypi", "some-package", "1.2"),
        Part("golang", "example.org/a/b", "v1.0.0", "one"),
        Part("golang", "example.org/a/b", "v1.0.0", "two"),
    }
    content = json.loads(bill("image:1", "sha256:00", parts))
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    assert content["metadata"]["component"]["name"] == "image:1"
    assert sorted(one["purl"] for one in content["components"]) == [
        "pkg:deb/debian/libc6@2.41-12",
        "pkg:golang/example.org/a/b@v1.0.0",
        "pkg:golang/example.org/a/b@v1.0.0",
        "pkg:pypi/some-package@1.2",
    ]


@pytest.mark.process
@pytest.mark.parametrize("args", [(), ("one", "two"), ("--all",)])
def test_wrong_use_is_one_line(args: tuple[str, ...]) -> None:
    done = subprocess.run([ROOT / "scripts/sbom", *args], capture_output=True, text=True, timeout=60, check=False)
    expected = f"sbom: error: name one image (got: {' '.join(args)})\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)
