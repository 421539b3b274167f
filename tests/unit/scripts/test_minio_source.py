"""scripts/minio-source: the archive that goes with MinIO's image has source, patches, modules and the image's files."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "services/minio/Dockerfile").read_text()
PATCHES = sorted((ROOT / "services/minio/patches").glob("*.patch"))
# Stands for Go: says what it was asked, has MinIO's module in a folder, and the modules that it is linked with.
GO = """#!/bin/bash
echo "$GOTOOLCHAIN $*" >>"$WORK/asked"
case "$*" in
    'mod download'*) printf '{\\n\\t"Path": "p",\\n\\t"Dir": "%s",\\n\\t"Sum": "s"\\n}\\n' "$WORK/module" ;;
    'mod vendor') mkdir vendor && echo text >vendor/modules.txt ;;
esac
"""
# Stands for patch: notes in the folder that it works on what it was given.
PATCH = """#!/bin/bash
[ -z "$UNFIT" ] || exit 1
while [ $# -gt 0 ]; do [ "$1" = --directory ] && folder=$2; shift; done
grep '^diff' >>"$folder/patched"
"""


def minio_source(work: Path, *args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script beside a Go and a patch that stand for the real ones."""
    for name, text in {
        "bin/go": GO,
        "bin/patch": PATCH,
        "module/LICENSE": "AGPL",
        "module/main.go": "package main",
    }.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(text)
        (work / name).chmod(0o755)
    path = f"{work}/bin:{os.environ['PATH']}"
    return subprocess.run(
        [ROOT / "scripts/minio-source", *args],
        env={**os.environ, "PATH": path, "WORK": str(work), "UNFIT": "", **environment},
        cwd=work,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_archive_has_what_the_licence_wants(tmp_path: Path) -> None:
    done = minio_source(tmp_path, "source.tar.gz")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "source.tar.gz") as archive:
        names = set(archive.getnames())
        patched = archive.extractfile("minio/patched")
        assert patched
        changed = patched.read().decode().splitlines()
    assert names >= {"README", "minio/LICENSE", "minio/main.go", "minio/vendor/modules.txt", "image/Dockerfile"}
    assert names >= {f"image/patches/{patch.name}" for patch in PATCHES}
    assert changed == [line for patch in PATCHES for line in re.findall("^diff.*", patch.read_text(), re.MULTILINE)]
    (module,) = re.findall(r"ARG MINIO_MODULE=(.+)", DOCKERFILE)
    (toolchain,) = re.findall(r"GOTOOLCHAIN=(\S+)", DOCKERFILE)
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"{toolchain} mod download -json github.com/minio/minio@{module}",
        f"{toolchain} mod vendor",
    ]


def test_patch_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    done = minio_source(tmp_path, "source.tar.gz", UNFIT="yes")
    assert done.returncode == 1
    assert done.stderr.endswith("services/minio/patches/0001-verify-unsigned-trailer-uploads.patch does not fit\n")
    assert not list(tmp_path.glob("source*"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "name the file to write, FILE.tar.gz (got: )"),
        (("a.zip",), "name the file to write, FILE.tar.gz (got: a.zip)"),
        (("none/a.tar.gz",), "there is no folder "),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    done = minio_source(tmp_path, *args)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"minio-source: error: {message}")


def test_image_says_where_the_source_is() -> None:
    assert "COPY --chmod=644 SOURCE /usr/share/doc/minio/SOURCE\n" in DOCKERFILE
    text = (ROOT / "services/minio/SOURCE").read_text()
    assert "scripts/minio-source" in text
    assert "minio-source-${TAG#v}.tar.gz" in (ROOT / ".github/workflows/release.yaml").read_text()
