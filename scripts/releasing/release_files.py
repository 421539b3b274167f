"""Writes a release's files into a folder: the program behind scripts/release-files."""

# macOS's own Python is 3.9.
from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import IO

from releasing.compose_file import release_compose, release_sso
from releasing.version_facts import ROOT, SSO, STACK, Refusal, prefix_of, version

SUMS = "SHA256SUMS"
BLOCK = 1 << 20
README = """\
# MLflow replica {version}

`compose.yaml` is enough to start the stack, in any folder:

    docker compose up --detach --wait
    docker compose run --rm trainer sweep

Then open <http://localhost:5000>. `compose.gcs.yaml` is the same for artifacts in Google Cloud Storage.
`compose.sso.yaml` is an addition: [single sign-on](docs/operators/single-sign-on.md).
What else it does: [Start without building](docs/operators/releases.md), and [all pages](docs/index.md).
What is new: [CHANGELOG.md](CHANGELOG.md). License: [LICENSE](LICENSE).
"""


def read_digests(file: Path) -> dict[str, str]:
    """Returns each image's digest out of what `docker buildx bake --metadata-file` has written."""
    try:
        metadata = json.loads(file.read_text())
        return {name: one["containerimage.digest"] for name, one in metadata.items() if isinstance(one, dict)}
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError):
        raise Refusal(f"{file} is not what docker buildx bake --metadata-file writes") from None


def copy_documents(folder: Path) -> None:
    """Copies what a reader needs: the documentation, the changelog, the license; and writes the first page."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "README.md").write_text(README.format(version=version()))


def sha256(stream: IO[bytes]) -> str:
    """Returns the digest of a stream, which may be larger than the memory."""
    digest = hashlib.sha256()
    while block := stream.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def write_sums(folder: Path) -> None:
    """Writes each file's SHA-256 into the folder, in the form that `sha256sum --check` reads."""
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS):
        with path.open("rb") as stream:
            lines.append(f"{sha256(stream)}  {path.relative_to(folder)}\n")
    (folder / SUMS).write_text("".join(lines))


def make_folder(folder: Path) -> None:
    """Makes the folder; raises Refusal where there is something in it already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refusal(f"{folder} is there already: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(prog="release-files", add_help=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--digests", type=Path)
    options = parser.parse_args()
    try:
        prefix = prefix_of(options.owner)
        digests = read_digests(options.digests) if options.digests else None
        files = {
            STACK: release_compose(prefix, digests=digests),
            "compose.gcs.yaml": release_compose(prefix, storage="gcs", digests=digests),
            SSO: release_sso(prefix, digests=digests),
        }
        make_folder(options.folder)
        for name, text in files.items():
            (options.folder / name).write_text(text)
        copy_documents(options.folder)
        write_sums(options.folder)
    except (Refusal, OSError) as error:
        sys.exit(f"release-files: error: {error}")
    said = "by digest" if digests else "by version alone"
    print(f"{options.folder}: version {version()}, images {prefix}-… {said}")


if __name__ == "__main__":
    main()
